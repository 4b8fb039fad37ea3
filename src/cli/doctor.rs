//! `barista doctor`: whether this host is ready to serve a site.

use super::{
    agent::THIS_PROGRAM,
    arguments::{JsonArgument, SiteArguments, StateArgument},
    explain::{AS_ROOT, read_transcript},
    failure::{Exit, Failure},
    output, source,
};
use crate::agent::{
    last_good,
    reader::Reader,
    repository::{examine, examine_records},
    status::Status,
};
use crate::deploy::{
    patience::{FOR_REFERENCES, within},
    repo::Repo,
};
use crate::observed::Seen;
use crate::plan::{self, Prepared};
use crate::{
    boot::table::Network,
    serve::dhcp::probe::{DhcpOfferSeen, probe},
};
use crate::{
    diagnose::doctor::{Answer, Check, Fact, Facts, judge, judge_dhcp, look},
    diagnostic::{Diagnostic, Place},
    host::System,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long answers to a DISCOVER are waited for: dnsmasq pings an address for three seconds before it offers it, and others wait
/// a second or two.
const PATIENCE: Duration = Duration::from_secs(3);

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// Send nothing: do not ask who else answers DHCP
    #[arg(long)]
    offline: bool,
}

/// What was looked at, as a document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Diagnosis {
    /// The version of this document, 2.
    version: u32,
    /// What is as it should be.
    well: Vec<Fact>,
    /// What is wrong, or could not be looked at.
    findings: Vec<Diagnostic>,
}

/// Runs `doctor`: exit 0 when there is no problem.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let state = &arguments.state.state;
    let (tree, mut checks) = read_site(&arguments.site, state)?;
    let site = source::load_on_host(&tree, state)?;
    let prepared = plan::prepare(&site).map_err(Failure::Findings)?;
    let facts = look(&System::real(), &prepared, state);
    checks.insert(0, Check::ok("site", format!("{} reads and checks", site.name)));
    checks.extend(judge(&facts, &prepared));
    checks.extend(check_transcript(state));
    if !arguments.offline {
        checks.extend(ask(&prepared, &facts));
    }
    let problems = checks.iter().filter(|check| check.is_problem()).count();
    if arguments.json.json {
        output::json(&document(checks))?;
    } else {
        output::data(&checks.iter().map(render).collect::<String>())?;
    }
    output::note(match problems {
        0 => "no problem was found".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    });
    Ok(if problems == 0 { Exit::Done } else { Exit::Error })
}

/// The site's text and how its repository is: the one that is named, else the one that an agent here follows. The copy of the last
/// good commit stands for a repository that cannot be read.
fn read_site(arguments: &SiteArguments, state: &Path) -> Result<(source::Text, Vec<Check>), Failure> {
    let followed = Status::read(state).ok().map(|status| PathBuf::from(status.repository));
    let repository = arguments.repository().map(Path::to_owned).or_else(|| followed.clone());
    let mut checks = repository.map_or_else(Vec::new, |repository| check_repository(&repository, state));
    let (read, is_of_repository) = match (arguments.source().read(), &followed) {
        // On a server people ask from wherever they are.
        (Err(_), Some(followed)) if !arguments.names_a_place() => (arguments.source_of(followed).read(), true),
        (read, _) => (read, arguments.repository().is_some()),
    };
    let text = match (read, last_good::read(state)) {
        (Ok(text), _) => text,
        (Err(_), Seen::Present(copy)) if is_of_repository => {
            let what = format!("the site is read from the copy of {}, the last good commit", copy.commit.id.short());
            checks.push(Check::ok("repository", what));
            source::Text { revision: copy.revision(), tree: copy.tree }
        }
        (Err(failure), _) => return Err(failure),
    };
    Ok((text, checks))
}

fn check_repository(repository: &Path, state: &Path) -> Vec<Check> {
    let about = "repository";
    let program = Some(PathBuf::from(THIS_PROGRAM));
    let reader = Reader { program, repository: repository.to_owned(), state: state.to_owned() };
    let mut troubles = examine(&reader);
    if System::real().kernel.is_root() {
        troubles.extend(examine_records(state));
    }
    let mut checks: Vec<Check> =
        troubles.into_iter().map(|trouble| Check::Wrong(Diagnostic { place: Place::whole(about), ..trouble })).collect();
    if !checks.is_empty() {
        return checks;
    }
    checks.push(Check::ok(about, format!("{} reads, with every file of its branch", repository.display())));
    let path = repository.to_owned();
    let is_durable = within(repository, FOR_REFERENCES, move || Repo::open(&path).map(|repo| repo.is_durable()));
    if is_durable.is_ok_and(|is| !is) {
        let what = format!("{}: a power cut may take pushes back: core.fsync is not all", repository.display());
        checks.push(Check::warning(
            about,
            "repository-not-durable",
            what,
            format!("run `barista init {}`", repository.display()),
        ));
    }
    checks
}

/// What machines did is told of by `explain` and `machine seen` alone: one that does not read keeps none from booting.
fn check_transcript(state: &Path) -> Option<Check> {
    let about = "transcript";
    match read_transcript(state) {
        Ok(None) => None,
        Ok(Some(_)) => Some(Check::ok(about, "what machines did reads")),
        Err(Failure::Error { error, hint }) => {
            let what = format!("{error:#}: what machines did cannot be explained");
            Some(match hint.unwrap_or_default() {
                hint if hint == AS_ROOT => Check::unseen(about, what, hint),
                hint => Check::warning(about, "transcript-unreadable", what, hint),
            })
        }
        Err(_) => None,
    }
}

fn document(checks: Vec<Check>) -> Diagnosis {
    let mut diagnosis = Diagnosis { version: 2, well: Vec::new(), findings: Vec::new() };
    for check in checks {
        match check {
            Check::Ok(fact) => diagnosis.well.push(fact),
            Check::Wrong(diagnostic) => diagnosis.findings.push(diagnostic),
        }
    }
    diagnosis
}

/// Asks on every interface at once who answers DHCP there.
fn ask(prepared: &Prepared, facts: &Facts) -> Vec<Check> {
    let networks = || prepared.table.networks.iter().filter(|(_, network)| network.relay.is_empty());
    let ours = facts.interfaces.values().flat_map(|interface| &interface.addresses).map(|address| address.addr()).collect();
    let heard: BTreeMap<&str, io::Result<Vec<Answer>>> = ask_all(networks().map(|(_, network)| network.interface.as_str()));
    let judged = networks().flat_map(|(name, network)| {
        let answers = heard.get(network.interface.as_str()).map(|heard| {
            let is_of = |network: &Network, answer: &Answer| answer.address.is_some_and(|ip| network.subnet.contains(&ip));
            // Several networks may share a wire. What is of none of them concerns each.
            let sharing = || networks().map(|(_, other)| other).filter(|other| other.interface == network.interface);
            let concerns = |answer: &&Answer| is_of(network, answer) || !sharing().any(|other| is_of(other, answer));
            heard
                .as_ref()
                .map(|answers| answers.iter().filter(concerns).cloned().collect::<Vec<_>>())
                .map_err(ToString::to_string)
        });
        answers.map_or_else(Vec::new, |heard| judge_dhcp(name, (network.mode, network.subnet), &ours, heard, facts.privilege))
    });
    judged.collect()
}

#[expect(clippy::disallowed_methods, reason = "three seconds for each interface are spent at once")]
fn ask_all<'a>(interfaces: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, io::Result<Vec<Answer>>> {
    let plain = |heard: DhcpOfferSeen| Answer { server: heard.server, address: heard.address, boot_file: heard.boot_file };
    std::thread::scope(|scope| {
        let asked: BTreeMap<_, _> =
            interfaces.map(|interface| (interface, scope.spawn(move || probe(interface, PATIENCE)))).collect();
        let answered = asked.into_iter().map(|(interface, asked)| {
            let heard = asked.join().unwrap_or_else(|_| Err(io::Error::other("a fault of the program itself")));
            (interface, heard.map(|heard| heard.into_iter().map(plain).collect()))
        });
        answered.collect()
    })
}

/// `problem  ports         udp port 67 (DHCP) is taken by dnsmasq`, and the mend below it.
fn render(check: &Check) -> String {
    let (what, mend) = match check {
        Check::Ok(fact) => (&fact.what, None),
        Check::Wrong(diagnostic) => (&diagnostic.message, diagnostic.hint.as_ref()),
    };
    let mend = mend.map_or(String::new(), |mend| format!("         mend: {mend}\n"));
    format!("{:<8} {:<13} {what}\n{mend}", check.word(), check.about())
}
