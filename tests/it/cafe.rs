//! A small café in a temporary directory: a site without disks, which needs no root, and the program itself.

use crate::push::git::{Work, text};
use barista::{
    agent::{run::Options, wakeup::Wakeup},
    host::RunDir,
};
use std::{
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A site in a work tree, a state directory, and where its repository will be.
pub struct Cafe {
    pub work: Work,
    pub state: PathBuf,
    pub repository: PathBuf,
}

impl Cafe {
    /// A café with one machine that boots its own disk.
    pub fn new() -> Self {
        let work = Work::new();
        let (state, repository) = (work.root.path().join("state"), work.root.path().join("cafe.git"));
        work.write("site.toml", "name = \"lucky-cat\"\n[server]\naddress = \"192.168.1.2\"\n");
        work.write("network/lan.toml", "interface = \"lan0\"\nmode = \"off\"\nsubnet = \"192.168.1.0/24\"\n");
        work.write("images/local.toml", "kind = \"local\"\n");
        let cafe = Self { work, state, repository };
        cafe.seats(1);
        cafe
    }

    /// Writes a row of machines.
    pub fn seats(&self, count: u32) {
        let machine = |n| format!("[[machine]]\nname = \"pc{n:02}\"\nmac = \"88:ae:dd:05:08:{n:02x}\"\n");
        let machines: String = (1..=count).map(machine).collect();
        self.work.write("machines/row-a.toml", &format!("[defaults]\nboot = [\"local\"]\n{machines}"));
    }

    /// A café whose repository is made and has hooks.
    pub fn with_repository() -> Self {
        let cafe = Self::new();
        let made = cafe.barista(&["init", cafe.repository.to_str().unwrap()]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
        cafe.work.git(&["remote", "add", "cafe", cafe.repository.to_str().unwrap()]);
        cafe
    }

    /// What an agent of this process follows and works with.
    pub fn options(&self) -> Options {
        let run = self.state.join("run");
        Options {
            repo: self.repository.clone(),
            state: self.state.clone(),
            run_dir: RunDir::new(run.clone()),
            run,
            program: None,
        }
    }

    /// What root says of the host; nothing until a test writes it.
    pub fn host_toml(&self) -> PathBuf {
        self.work.root.path().join("host.toml")
    }

    /// The program in the site's directory, with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_barista"));
        command.current_dir(&self.work.tree).args(arguments).env_remove("RUST_LOG");
        // A zone that needs no file of the host (tzset(3)): eight hours before UTC.
        command.env("TZ", "CST-8");
        command.env("BARISTA_HOST_TOML", self.host_toml());
        command.env("BARISTA_STATE", &self.state).env("BARISTA_RUN", self.work.root.path().join("run"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program in the site's directory to its end.
    pub fn barista(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Runs the hook that looks at what is pushed into a repository, as git does.
    pub fn hook(&self, updates: &str, repository: &std::path::Path) -> Output {
        let input = self.work.root.path().join("updates");
        std::fs::write(&input, updates).expect("a file");
        let mut command = self.command(&["hook", "pre-receive"]);
        command.env("GIT_DIR", repository).stdin(std::fs::File::open(input).expect("a file"));
        command.output().expect("the hook runs")
    }

    /// Pushes HEAD and returns git's exit status with what the pusher reads.
    pub fn push(&self, refspec: &str) -> (bool, String) {
        let output = self.work.try_git(&["push", "cafe", refspec]);
        (output.status.success(), text(&output.stderr))
    }

    /// Starts an agent on the repository and waits until it has looked.
    pub fn agent(&self) -> Agent {
        self.start("agent")
    }

    /// Starts `agent`, or `run`, which is one too, and waits until it has looked.
    pub fn start(&self, service: &str) -> Agent {
        let repository = self.repository.to_str().unwrap();
        // A test that is root has no other user to become.
        let user: &[&str] = if service == "run" && nix::unistd::geteuid().is_root() { &["--user", "root"] } else { &[] };
        let mut command = self.command(&[&[service, "--repo", repository], user].concat());
        let agent = Agent(command.stderr(Stdio::null()).spawn().expect("the service starts"));
        self.until("the agent has looked", || self.state.join("status.json").exists());
        agent
    }

    /// Starts `status --watch`, which writes to a file.
    pub fn watch_status(&self) -> Watching {
        let told = self.work.root.path().join("watched");
        let out = std::fs::File::create(&told).expect("a file");
        let child = self.command(&["status", "--watch"]).stdout(out).spawn().expect("it starts");
        Watching { agent: Agent(child), told }
    }

    /// The status document, once this is true of it.
    pub fn status_when(&self, what: &str, is: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let mut status = serde_json::Value::Null;
        self.until(what, || {
            let told = self.barista(&["status", "--json"]);
            status = serde_json::from_slice(&told.stdout).unwrap_or_default();
            is(&status)
        });
        status
    }

    /// A café that serves its first commit, its agent, and that commit.
    pub fn serving() -> (Self, Agent, String) {
        let cafe = Self::with_repository();
        let agent = cafe.agent();
        let commit = cafe.work.commit("open the café");
        let (went, told) = cafe.push("HEAD:main");
        assert!(went && told.contains("applied; "), "{told}");
        cafe.status_when("it is served", |status| status["serving"]["revision"]["id"] == commit.as_str());
        (cafe, agent, commit)
    }

    /// Waits for a condition, within a deadline that a loaded machine meets too.
    pub fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            sleep(Duration::from_millis(20));
        }
    }
}

/// Stops an agent that runs beside a test in its scope, also where the test fails: the scope waits for it.
pub struct StopAtEnd<'a>(pub &'a Wakeup);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// A running `status --watch`.
pub struct Watching {
    pub agent: Agent,
    /// What it has told so far.
    pub told: PathBuf,
}

/// A running agent; ends with its holder.
pub struct Agent(pub Child);

impl Agent {
    /// Tells it to stop as systemd does, and returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
