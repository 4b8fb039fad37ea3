//! Schedules that every version has to stand, whatever the seeds come to.

use crate::cafe::ALPHA;
use crate::disturb::{self, Disturbance};
use crate::machines::{Order, Phase};
use crate::world::{HOUR, MINUTE, Options, SECOND, Sim, World};

/// A room of three in which nothing happens by itself, its sides made.
fn room() -> Sim {
    let options = Options {
        seed: 1,
        days: 1,
        machines: 3,
        is_auto: false,
        disturbances: Vec::new(),
        bite: None,
        is_loud: std::env::var("SIM_LOUD").is_ok(),
    };
    let sim = World::new(options);
    sim.run_for(HOUR);
    sim
}

fn boot(sim: &Sim, orders: &[Order]) {
    let mut inner = sim.lock();
    inner.machines[0].orders = orders.to_vec();
    inner.power_on(0);
}

fn order(sim: &Sim, order: Order) {
    let mut inner = sim.lock();
    inner.machines[0].orders.push(order);
    inner.notice(0);
}

/// The target that machine 0's system runs on.
fn target(sim: &Sim) -> String {
    holds(sim);
    let inner = sim.lock();
    let system = inner.machines[0].system.as_ref();
    system
        .unwrap_or_else(|| panic!("machine 0 runs no system: {:?}\n{}", inner.machines[0].phase, tail(&inner.story)))
        .target
        .clone()
}

fn holds(sim: &Sim) {
    let inner = sim.lock();
    assert_eq!(inner.broken, None, "\n{}", tail(&inner.story));
}

fn tail(story: &std::collections::VecDeque<String>) -> String {
    story.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_assignment_comes_late_while_the_firmware_already_hooks() {
    let sim = room();
    boot(&sim, &[Order::LateAsk(60 * SECOND), Order::SlowFirmware(5 * MINUTE), Order::Write]);
    sim.run_for(20 * MINUTE);
    target(&sim);
}

#[test]
fn a_power_cut_between_naming_and_lvm() {
    for effect in 1..14 {
        let sim = room();
        boot(&sim, &[Order::Write]);
        sim.host.crash_at(effect);
        sim.run_for(20 * MINUTE);
        if sim.host.is_armed() {
            disturb::power_cut(&sim);
        }
        sim.run_for(50 * MINUTE);
        target(&sim);
    }
}

#[test]
fn an_idle_system_whose_browser_fetches_its_own_script() {
    let sim = room();
    boot(&sim, &[Order::Write]);
    sim.run_for(5 * MINUTE);
    let before = target(&sim);
    for _ in 0..6 {
        order(&sim, Order::Browse);
        sim.run_for(10 * MINUTE);
    }
    order(&sim, Order::Write);
    sim.run_for(MINUTE);
    assert_eq!(target(&sim), before);
}

#[test]
fn eleven_minutes_of_sleep_with_a_restart_of_the_agent() {
    let sim = room();
    boot(&sim, &[Order::Write, Order::Sleep(11 * MINUTE)]);
    sim.run_for(6 * MINUTE);
    disturb::do_it(&sim, Disturbance::NewVersion { slot: ALPHA, is_half_copied: false });
    disturb::do_it(&sim, Disturbance::AgentDies(20 * SECOND));
    sim.run_for(10 * MINUTE);
    order(&sim, Order::Write);
    sim.run_for(5 * MINUTE);
    target(&sim);
}

#[test]
fn a_hard_reset_whose_old_session_shows_for_a_while() {
    let sim = room();
    boot(&sim, &[Order::Write]);
    sim.run_for(5 * MINUTE);
    let before = target(&sim);
    order(&sim, Order::HardReset);
    sim.run_for(10 * MINUTE);
    assert_ne!(target(&sim), before);
}

#[test]
fn three_resets_in_a_minute_without_a_spare() {
    let sim = room();
    for _ in 0..3 {
        boot(&sim, &[Order::Write]);
        sim.run_for(100 * SECOND);
        for _ in 0..3 {
            boot(&sim, &[Order::Write]);
            sim.run_for(20 * SECOND);
        }
    }
    sim.run_for(10 * MINUTE);
    target(&sim);
}

#[test]
fn a_push_in_the_gap_between_firmware_and_system() {
    let sim = room();
    boot(&sim, &[Order::SlowGap(3 * MINUTE), Order::Write]);
    sim.run_for(100 * SECOND);
    assert!(matches!(sim.lock().machines[0].phase, Phase::Gap { .. }));
    disturb::do_it(&sim, Disturbance::NewVersion { slot: ALPHA, is_half_copied: false });
    sim.run_for(20 * MINUTE);
    target(&sim);
}

#[test]
fn targets_are_cleared_under_a_used_disk_and_the_machine_boots_again() {
    let sim = room();
    boot(&sim, &[Order::Write]);
    sim.run_for(5 * MINUTE);
    target(&sim);
    disturb::do_it(&sim, Disturbance::ClearTargets);
    disturb::do_it(&sim, Disturbance::AgentDies(20 * SECOND));
    boot(&sim, &[Order::Write]);
    sim.run_for(10 * MINUTE);
    target(&sim);
}

#[test]
fn a_menu_is_open_for_an_hour_across_a_change_of_the_image() {
    let sim = room();
    boot(&sim, &[Order::Menu(HOUR), Order::Write]);
    sim.run_for(10 * MINUTE);
    disturb::do_it(&sim, Disturbance::NewVersion { slot: ALPHA, is_half_copied: false });
    sim.run_for(2 * HOUR);
    target(&sim);
}

#[test]
fn the_server_is_paused_for_twenty_minutes() {
    let sim = room();
    boot(&sim, &[Order::Write]);
    sim.run_for(5 * MINUTE);
    let before = target(&sim);
    disturb::do_it(&sim, Disturbance::ServerPauses(20 * MINUTE));
    sim.run_for(HOUR);
    order(&sim, Order::Write);
    sim.run_for(5 * MINUTE);
    assert_eq!(target(&sim), before);
}
