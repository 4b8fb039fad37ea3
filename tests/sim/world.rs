//! The simulated world: one clock, one queue of events, the host, the agent, the machines; and the story so far.
//!
//! One seed is one run: everything happens in one thread, in the order of the queue. Effects of the host take time, and what is due
//! meanwhile happens between two of them.

use crate::agent::Agent;
use crate::bite::Bite;
use crate::cafe::{Cafe, source_name};
use crate::disturb::{self, Disturbance};
use crate::invariants::{self, Truth};
use crate::machines::{self, Machine};
use crate::rng::Rng;
use barista::host::System;
use barista::host::fake::FakeHost;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub const SECOND: u64 = 1000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

/// What LIO still shows of a session whose machine vanished.
pub const LINGERS: u64 = 42 * SECOND;

/// Sources that lie in the image store.
pub const SOURCES: usize = 40;

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// A machine's next step, if it is still in that state of power.
    Step {
        card: usize,
        epoch: u32,
    },
    /// The server gives a session up.
    SessionEnds {
        id: u64,
    },
    /// The agent's turn.
    Tick {
        life: u32,
    },
    AgentStarts,
    ServerStarts,
    FillEnds {
        life: u32,
    },
    Disturb(usize),
    LinksUp(Vec<usize>),
    /// Somebody presses reset.
    Reset(usize),
    CarrierUp,
    /// An assignment that was asked for long ago is made only now.
    LateAsk {
        card: usize,
        image: String,
        nonce: u64,
    },
    /// A power cut that was to come at an effect comes without one.
    CutAtLast,
    /// A source is whole now.
    SourceWhole {
        number: usize,
        bytes: usize,
    },
}

/// How a run is made.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    pub days: u64,
    pub machines: usize,
    /// Whether machines do what they like.
    pub is_auto: bool,
    /// What goes wrong, and when.
    pub disturbances: Vec<(u64, Disturbance)>,
    pub bite: Option<Bite>,
    /// Whether every event is printed.
    pub is_loud: bool,
}

/// A session that the server shows.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: u64,
    pub card: usize,
    pub target: String,
    pub initiator: String,
    pub isid: String,
    pub since: u64,
    /// Whether its machine is still behind it.
    pub is_alive: bool,
}

/// Everything but the host.
pub struct Inner {
    pub now: u64,
    pub options: Options,
    pub rng: Rng,
    queue: BTreeMap<(u64, u64), Event>,
    order: u64,
    pub machines: Vec<Machine>,
    pub sessions: Vec<Session>,
    next_session: u64,
    pub cafe: Cafe,
    pub head: Arc<barista::plan::Prepared>,
    pub agent: Agent,
    pub server_up: bool,
    pub has_carrier: bool,
    pub is_calm: bool,
    pub truth: Truth,
    pub broken: Option<String>,
    pub story: VecDeque<String>,
    is_acting: bool,
    pub nonces: u64,
    pub counts: BTreeMap<&'static str, u64>,
    pub next_source: usize,
    pub backup: Option<Vec<u8>>,
    /// Sources that somebody still copies.
    pub copying: std::collections::BTreeSet<String>,
    pub has_paused: bool,
    /// Since when nothing was broken from outside.
    pub fine_since: u64,
}

/// The world.
pub struct World {
    pub host: FakeHost,
    pub system: System,
    pub dir: tempfile::TempDir,
    inner: Mutex<Inner>,
}

pub type Sim = Arc<World>;

impl Inner {
    pub fn schedule(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.insert((self.now + delay, self.order), event);
    }

    /// When the next event is due that is not the agent's turn.
    pub fn next_other(&self) -> Option<u64> {
        self.queue.iter().find(|(_, event)| !matches!(event, Event::Tick { .. })).map(|((at, _), _)| *at)
    }

    fn pop(&mut self, until: u64, filter: impl Fn(&Event) -> bool) -> Option<(u64, Event)> {
        let key = self.queue.range(..=(until, u64::MAX)).find(|(_, event)| filter(event)).map(|(key, _)| *key)?;
        self.queue.remove(&key).map(|event| (key.0, event))
    }

    /// Drops what the agent had scheduled.
    pub fn forget_ticks(&mut self) {
        self.queue.retain(|_, event| !matches!(event, Event::Tick { .. } | Event::FillEnds { .. }));
    }

    /// The agent's next turn comes at once.
    pub fn look_soon(&mut self, life: u32) {
        self.queue.retain(|_, event| !matches!(event, Event::Tick { .. }));
        self.schedule(250, Event::Tick { life });
    }

    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        let text = format!("{} {}", stamp(self.now), text());
        if self.options.is_loud {
            println!("{text}");
        }
        self.story.push_back(text);
        if self.story.len() > 60 {
            self.story.pop_front();
        }
    }

    pub fn breaks(&mut self, what: String) {
        if self.broken.is_none() {
            self.tell(|| format!("BROKEN: {what}"));
            self.broken = Some(what);
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn add_session(&mut self, card: usize, target: &str, initiator: &str, isid: &str) {
        self.sessions.retain(|session| {
            (session.target.as_str(), session.initiator.as_str(), session.isid.as_str()) != (target, initiator, isid)
        });
        self.next_session += 1;
        self.sessions.push(Session {
            id: self.next_session,
            card,
            target: target.to_owned(),
            initiator: initiator.to_owned(),
            isid: isid.to_owned(),
            since: self.now,
            is_alive: true,
        });
    }

    /// A machine vanishes: the server shows its sessions for a while yet.
    pub fn abandon_sessions(&mut self, card: usize) {
        let ids: Vec<u64> = self
            .sessions
            .iter_mut()
            .filter(|session| session.card == card && session.is_alive)
            .map(|session| {
                session.is_alive = false;
                session.id
            })
            .collect();
        for id in ids {
            self.schedule(LINGERS, Event::SessionEnds { id });
        }
    }
}

/// A moment as a person reads it.
pub fn stamp(now: u64) -> String {
    let seconds = now / SECOND;
    format!("day {} {:02}:{:02}:{:02}.{:03}", seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, now % 1000)
}

impl World {
    /// A café that has just been set up, at six in the morning.
    pub fn new(options: Options) -> Sim {
        let host = FakeHost::new();
        host.one_lane();
        host.add_vg(crate::cafe::VG, 1 << 40);
        let memory = std::path::Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory");
        std::fs::create_dir_all(dir.path().join("images")).expect("writable");
        let mut truth = Truth::default();
        for number in 0..SOURCES {
            let bytes = source(number);
            std::fs::write(dir.path().join("images").join(source_name(number)), &bytes).expect("writable");
            truth.whole.insert(sha256(&bytes), number);
        }
        let mut cafe = Cafe::new(options.machines);
        let mut rng = Rng::new(options.seed, 1);
        if options.is_auto {
            cafe.quiet = if rng.chance(50) { "8h" } else { "1h" };
            cafe.sides = if rng.chance(50) { 2 } else { 3 };
        }
        let head = cafe.prepare().unwrap_or_else(|| panic!("{}", cafe.findings()));
        let machines = (0..options.machines).map(|card| Machine::new(card, options.seed, options.is_auto)).collect();
        let inner = Inner {
            now: 0,
            rng,
            queue: BTreeMap::new(),
            order: 0,
            machines,
            sessions: Vec::new(),
            next_session: 0,
            cafe,
            head: head.clone(),
            agent: Agent::new(&host.system(), dir.path(), head),
            server_up: true,
            has_carrier: true,
            is_calm: false,
            truth,
            broken: None,
            story: VecDeque::new(),
            is_acting: false,
            nonces: options.seed << 20,
            counts: BTreeMap::new(),
            next_source: 3,
            backup: None,
            copying: Default::default(),
            has_paused: false,
            fine_since: 0,
            options,
        };
        let world = Arc::new(Self { system: host.system(), host, dir, inner: Mutex::new(inner) });
        disturb::plant_foreign(&world);
        let weak = Arc::downgrade(&world);
        world.host.after_each_effect(move |effect| {
            if let Some(world) = weak.upgrade() {
                world.on_effect(effect);
            }
        });
        let mut inner = world.lock();
        inner.now = 6 * HOUR;
        inner.schedule(0, Event::Tick { life: 0 });
        for card in 0..inner.machines.len() {
            let delay = inner.rng.between(HOUR, 4 * HOUR);
            if inner.options.is_auto {
                inner.schedule(delay, Event::Step { card, epoch: 0 });
            }
        }
        for at in 0..inner.options.disturbances.len() {
            let delay = inner.options.disturbances[at].0;
            inner.schedule(delay, Event::Disturb(at));
        }
        drop(inner);
        world
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn path(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Lets everything happen that is due until then.
    pub fn run_until(self: &Sim, end: u64) {
        loop {
            let mut inner = self.lock();
            if inner.broken.is_some() {
                return;
            }
            let Some((at, event)) = inner.pop(end, |_| true) else {
                let rest = end.saturating_sub(inner.now);
                inner.now = inner.now.max(end);
                drop(inner);
                self.host.advance(Duration::from_millis(rest));
                return;
            };
            let delay = at.saturating_sub(inner.now);
            inner.now = inner.now.max(at);
            drop(inner);
            if delay > 0 {
                self.host.advance(Duration::from_millis(delay));
            }
            self.happen(event);
        }
    }

    /// Lets so much time pass.
    pub fn run_for(self: &Sim, time: u64) {
        let end = self.lock().now + time;
        self.run_until(end);
    }

    fn happen(self: &Sim, event: Event) {
        match event {
            Event::Tick { life } => crate::agent::tick(self, life),
            Event::AgentStarts => crate::agent::start(self),
            Event::FillEnds { life } => crate::agent::fill_ends(self, life),
            Event::ServerStarts => disturb::server_starts(self),
            Event::Disturb(at) => disturb::happen(self, at),
            Event::CutAtLast => disturb::cut_at_last(self),
            other => self.happen_outside(other),
        }
        if self.host.is_down() {
            disturb::power_cut(self);
        }
    }

    /// What happens whatever the server is doing.
    fn happen_outside(self: &Sim, event: Event) {
        match event {
            Event::Step { card, epoch } => machines::step(self, card, epoch),
            Event::SessionEnds { id } => {
                let mut inner = self.lock();
                let Some(at) = inner.sessions.iter().position(|session| session.id == id && !session.is_alive) else { return };
                let session = inner.sessions.remove(at);
                drop(inner);
                self.host.end_session(&session.target, &session.initiator, &session.isid);
            }
            Event::LinksUp(cards) => {
                let mut inner = self.lock();
                inner.tell(|| format!("the network of {cards:?} is back"));
                for card in cards {
                    inner.machines[card].has_link = inner.has_carrier;
                    inner.machines[card].link_since = inner.now;
                    inner.notice(card);
                }
            }
            Event::CarrierUp => {
                self.lock().has_carrier = true;
                self.host.set_carrier(true);
                let mut inner = self.lock();
                inner.fine_since = inner.now;
                let all = 0..inner.machines.len();
                all.for_each(|card| {
                    inner.machines[card].has_link = true;
                    inner.machines[card].link_since = inner.now;
                    inner.notice(card);
                });
            }
            Event::Reset(card) => {
                let mut inner = self.lock();
                if inner.machines[card].phase != machines::Phase::Off && !inner.is_calm {
                    inner.power_on(card);
                }
            }
            Event::LateAsk { card, image, nonce } => machines::late_ask(self, card, &image, nonce),
            Event::SourceWhole { number, bytes } => {
                let whole = source(number);
                assert!(bytes <= whole.len());
                std::fs::write(self.path().join("images").join(source_name(number)), &whole).expect("writable");
                let mut inner = self.lock();
                inner.copying.remove(&source_name(number));
                inner.agent.is_planning_due = true;
            }
            _ => {}
        }
    }

    /// An effect of the host was done: it took time, promises hold, and what was due meanwhile happens.
    fn on_effect(self: &Sim, effect: &str) {
        let cost = match effect.split(' ').next() {
            Some("write" | "mkdir" | "symlink" | "rmdir" | "unlink") => 3,
            Some("append" | "replace") => 8,
            Some("qemu-img") => 200,
            _ => 150,
        };
        let mut inner = self.lock();
        inner.now += cost;
        let now = inner.now;
        inner.count("effects");
        drop(inner);
        self.host.advance(Duration::from_millis(cost));
        if self.host.is_down() {
            return;
        }
        invariants::after_effect(self, effect);
        let mut inner = self.lock();
        if inner.is_acting || inner.broken.is_some() {
            return;
        }
        inner.is_acting = true;
        drop(inner);
        loop {
            let due =
                self.lock().pop(now, |event| matches!(event, Event::Step { .. } | Event::SessionEnds { .. } | Event::LinksUp(_)));
            let Some((_, event)) = due else { break };
            self.happen_outside(event);
        }
        self.lock().is_acting = false;
    }
}

/// What the source of this number holds when it is whole.
pub fn source(number: usize) -> Vec<u8> {
    (0..4096_u32).map(|at| (at as usize * 7 + number * 31 + 1) as u8).chain(format!("source {number}").into_bytes()).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}
