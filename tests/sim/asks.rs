//! A boot asks for its disk: the product's own assignment, asked as `serve` asks it, by what the agent saw at its last look.

use crate::agent::{catch_up, finish, mono};
use crate::world::Sim;
use barista::boot::assignment::{self, Assignment, Claims, Decided, Discover, Fetch, Generation, Request, Stamp};
use barista::names::{BootNonce, ImageName, MachineName, Mono};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Who asks, and for what.
pub struct Asks<'a> {
    pub name: &'a MachineName,
    pub image: &'a ImageName,
    pub nonce: u64,
    /// The address, where it is not the machine's own.
    pub peer: Option<Ipv4Addr>,
}

/// What a boot is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Target(String),
    Wait(String),
}

/// Those who assign hear of the looks that have been, at which all was as before.
fn hear_of_looks(sim: &Sim) {
    let mut inner = sim.lock();
    catch_up(&mut inner.agent, mono(sim));
    let Some(observed) = inner.agent.observed.clone().filter(|_| inner.agent.is_up && inner.agent.has_looked) else { return };
    inner.agent.has_looked = false;
    let mut observation = Arc::unwrap_or_clone(observed);
    observation.now = inner.agent.known.at;
    finish(&mut inner, &mut observation);
    let (assigner, prepared) = (inner.agent.assigner.clone(), inner.agent.prepared.clone());
    drop(inner);
    assigner.begin_look();
    assigner.take_in(&prepared, &Arc::new(observation));
}

/// A boot asks which target it gets; by what the agent saw at its last look.
pub fn ask(sim: &Sim, card: usize, asks: &Asks<'_>) -> Answer {
    let text = std::fs::read_to_string(sim.path().join(barista::boot::table::PATH)).unwrap_or_default();
    hear_of_looks(sim);
    let (assigner, request) = {
        let mut inner = sim.lock();
        if !inner.agent.is_up {
            return Answer::Wait("no-agent".to_owned());
        }
        let now = mono(sim);
        let seems = inner.machines[card].seems;
        let peer = asks.peer.unwrap_or_else(|| Ipv4Addr::new(192, 168, 77, 101 + seems as u8));
        let heard = inner.agent.hear(seems).clone();
        let stamp = |at: &Mono| Stamp(at.as_millis());
        let discovers = heard.discovers.iter().map(|at| Discover { at: stamp(at), address: None });
        let fetch = |at: Stamp| Fetch { at, peer: peer.into() };
        let fetches = if asks.peer.is_some() { Vec::new() } else { heard.fetches };
        let request = Request {
            version: assignment::VERSION,
            machine: asks.name.clone(),
            boot: BootNonce::from_octets(asks.nonce.to_be_bytes()),
            generation: Generation::of(&text),
            peer: peer.into(),
            uuid: format!("4c4c4544-0000-1000-8000-0000000000{:02x}", asks.peer.map_or(card + 1, |_| 0xee)).parse().ok(),
            entries: vec![asks.image.clone()],
            claims: Claims {
                boot_id: sim.system.kernel.boot_id(),
                now: stamp(&now),
                discovers: discovers.collect(),
                issued: fetch(stamp(&now)),
                fetches: fetches.iter().map(|at| fetch(stamp(at))).chain([fetch(stamp(&now))]).collect(),
            },
            budget: 0,
        };
        inner.count("asks");
        (inner.agent.assigner.clone(), request)
    };
    let answer = assigner.answer(&request);
    let mut inner = sim.lock();
    if inner.agent.wakeup.take_look_at_host() && inner.agent.is_up {
        inner.agent.is_planning_due = true;
        let life = inner.agent.life;
        inner.look_soon(life);
    }
    match answer.decided {
        Decided::Again { .. } => Answer::Wait("begin-again".to_owned()),
        Decided::Entries(entries) => match entries.into_values().next() {
            Some(Assignment::Assigned { target }) => Answer::Target(target.to_string()),
            Some(Assignment::Wait { code, .. }) => Answer::Wait(format!("{code:?}")),
            Some(Assignment::Refused { code, .. }) => Answer::Wait(format!("refused: {code:?}")),
            None => Answer::Wait("unknown".to_owned()),
        },
    }
}
