//! What root says of a host stands above what a site says of it.

use crate::cafe::Cafe;
use crate::push::git::text;
use std::fs;

/// A site that names a path of its server.
fn site(cafe: &Cafe, loaders: &str) {
    let site = format!("name = \"lucky-cat\"\n[server]\naddress = \"192.168.1.2\"\n[boot]\nloaders = {loaders:?}\n");
    cafe.work.write("site.toml", &site);
}

/// The findings about the path, as the program words them.
fn told(output: &std::process::Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_path_that_the_host_does_not_allow_is_a_finding_on_its_server() {
    let cafe = Cafe::new();
    let boot = cafe.state.join("boot");
    site(&cafe, "/etc");
    let elsewhere = cafe.barista(&["check"]);
    assert_eq!(elsewhere.status.code(), Some(0), "nobody knows here what the server allows: {}", told(&elsewhere));
    fs::create_dir_all(&boot).unwrap();
    for path in [boot.to_str().unwrap(), cafe.state.to_str().unwrap(), "/etc", "/proc/self", "/sys", "/dev", "/root", "/home"] {
        site(&cafe, path);
        for command in [&["check"][..], &["plan"], &["apply", "--yes"], &["doctor", "--offline"]] {
            let output = cafe.barista(command);
            assert_eq!(output.status.code(), Some(1), "{path} {command:?}: {}", told(&output));
            let said = told(&output);
            assert!(said.contains("site.toml:5:11: loaders = "), "{path} {command:?}: {said}");
            assert!(said.contains(cafe.host_toml().to_str().unwrap()), "{path} {command:?}: {said}");
        }
    }
    assert!(!boot.join("table.json").exists());
    let allowed = cafe.work.root.path().join("files");
    fs::write(cafe.host_toml(), format!("[allowed-paths]\nloaders = [{allowed:?}]\n")).unwrap();
    site(&cafe, allowed.join("loaders").to_str().unwrap());
    assert_eq!(cafe.barista(&["check"]).status.code(), Some(0));
    fs::write(cafe.host_toml(), "[allowed-path]\n").unwrap();
    let broken = cafe.barista(&["check"]);
    assert!(broken.status.code() == Some(1) && told(&broken).contains("host.toml: line 1"), "{}", told(&broken));
}

#[test]
fn neither_hook_nor_agent_takes_a_commit_with_a_path_that_is_not_allowed_until_root_allows_it() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    let good = cafe.work.commit("open the café");
    // The hook is git's child, and so has what this process has.
    fs::write(cafe.repository.join("hooks/pre-receive"), "").unwrap();
    assert!(cafe.push("HEAD:main").0);
    cafe.status_when("the café is open", |status| status["serving"]["revision"]["id"] == good.as_str());
    let loaders = cafe.work.root.path().join("files");
    site(&cafe, loaders.to_str().unwrap());
    let bad = cafe.work.commit("serve what is not ours");
    let zero = "0".repeat(40);
    let pushed = cafe.hook(&format!("{zero} {bad} refs/heads/main\n"), &cafe.work.tree.join(".git"));
    assert_eq!(pushed.status.code(), Some(1), "{}", told(&pushed));
    assert!(told(&pushed).contains("site.toml:5:11: loaders = "), "{}", told(&pushed));
    assert!(cafe.push("HEAD:main").0, "whoever may write the repository passes the hook over");
    let status = cafe.status_when("it is refused", |status| !status["waiting"].is_null());
    let finding = &status["last"]["result"]["refused"]["findings"][0];
    assert_eq!((&finding["place"]["file"], &finding["place"]["line"]), (&"site.toml".into(), &5.into()), "{status}");
    assert_eq!(status["serving"]["revision"]["id"], good.as_str());
    let table = || fs::read_to_string(cafe.state.join("boot/table.json")).unwrap();
    assert!(!table().contains("files"));
    fs::write(cafe.host_toml(), format!("[allowed-paths]\nloaders = [{loaders:?}]\n")).unwrap();
    cafe.status_when("root allows it now", |status| status["serving"]["revision"]["id"] == bad.as_str());
    assert!(table().contains("files"));
    assert_eq!(agent.stop(), Some(0));
    // What root takes away again is not served, and takes nobody's seat: the café comes back with its last good commit.
    fs::remove_file(cafe.host_toml()).unwrap();
    let agent = cafe.agent();
    let since = |status: &serde_json::Value| status["agent"]["pid"] == agent.0.id();
    let status = cafe.status_when("it is back", |status| since(status) && status["last"]["result"] != "running");
    assert!(status["last"]["result"]["refused"].is_null() && status["waiting"].is_null(), "{status}");
    assert_eq!(status["serving"]["revision"]["id"], bad.as_str());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn init_writes_a_file_that_allows_the_defaults_and_leaves_one_that_is_there() {
    let cafe = Cafe::new();
    let etc = cafe.work.root.path().join("etc");
    let arguments = ["init", cafe.repository.to_str().unwrap(), &format!("--systemd={}", etc.display())];
    assert_eq!(cafe.barista(&arguments).status.code(), Some(0));
    let path = etc.join("barista/host.toml");
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.contains("[allowed-paths]"), "{written}");
    assert!(barista::host::HostSettings::read(&path, &cafe.state).is_ok());
    fs::write(&path, "# root's own\n").unwrap();
    assert_eq!(cafe.barista(&arguments).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "# root's own\n");
}
