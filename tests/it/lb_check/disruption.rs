//! Instances are killed, stopped and drained behind a balancer, and started again by this test.

use std::path::Path;
use std::time::Duration;

use super::balancer::{Balancer, Kind};
use super::fleet::{Checked, Fleet, PATIENCE};

/// Between two looks for an instance that is to be started.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The wish to start an instance again is a file of its name.
fn restore_command(wishes: &Path) -> String {
    let wishes = wishes.display();
    format!("if [ {{signal}} = STOP ]; then kill -CONT {{pid}}; else touch '{wishes}/{{name}}'; fi")
}

/// Runs `lb-check` with requests of `in_flight_ms`, and starts whatever it wants started.
async fn disrupt(fleet: &mut Fleet, url: &str, in_flight_ms: &str, more: &[&str]) -> Checked {
    let wishes = fleet.wishes();
    let restore = restore_command(&wishes);
    let mut arguments = vec![
        "--disruptive",
        "--fault-cmd",
        "kill -{signal} {pid}",
        "--restore-cmd",
        &restore,
    ];
    arguments.extend([
        "--drain-requests",
        "500",
        "--in-flight-ms",
        in_flight_ms,
        "--proxy-timeout-s",
        "3",
    ]);
    arguments.extend(["--concurrency", "8"]);
    arguments.extend(more);
    // The fleet is lent to both: the check only reads what never changes.
    let (mut instances, fleet) = (std::mem::take(&mut fleet.instances), &*fleet);
    let starting = async {
        loop {
            for instance in &mut instances {
                let wish = wishes.join(&instance.name);
                if wish.exists() {
                    std::fs::remove_file(&wish).expect("the file is there");
                    instance.process.exit_code(PATIENCE).await;
                    instance.process = fleet.run(&instance.name, instance.address).await;
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::select! {
        checked = fleet.check(url, &arguments) => checked,
        () = starting => unreachable!("it looks for ever"),
    }
}

/// Every disruptive phase passes.
async fn is_without_harm(fleet: &mut Fleet, balancer: &Balancer) {
    let only = [
        "--only", "eject", "--only", "hang", "--only", "drain", "--only", "all-down",
    ];
    let checked = disrupt(fleet, &balancer.url, "1500", &only).await;
    println!("{}", checked.lines());
    assert_eq!(
        checked.with("PASS"),
        ["discover", "eject", "hang", "drain", "all-down"],
        "{}",
        checked.lines()
    );
    assert_eq!(checked.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_instances_die_hang_and_drain_without_harm() {
    let mut fleet = Fleet::start(&[("shutdown.lame_duck_ms", "1000")]).await;
    let quick = [
        ("proxy_read_timeout 15s;", "proxy_read_timeout 3s;"),
        ("keepalive_timeout 3s;", "keepalive_timeout 500ms;"),
    ];
    let balancer = Balancer::start(Kind::Nginx, &fleet.behind_open_doors(), &quick).await;
    is_without_harm(&mut fleet, &balancer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_ends_too_soon_is_found_by_the_drain_alone() {
    // Requests in flight have 400 ms in all.
    let hasty = [
        ("shutdown.lame_duck_ms", "300"),
        ("shutdown.http_ms", "100"),
    ];
    let mut fleet = Fleet::start(&hasty).await;
    let balancer = Balancer::start(Kind::Nginx, &fleet.behind_open_doors(), &[]).await;
    let only = ["--only", "drain", "--only", "all-down"];
    let checked = disrupt(&mut fleet, &balancer.url, "1500", &only).await;
    println!("{}", checked.lines());
    assert_eq!(checked.with("FAIL"), ["drain"], "{}", checked.lines());
    assert!(
        checked.measured("drain").contains("cut off"),
        "{}",
        checked.lines()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_instances_die_hang_and_drain_without_harm() {
    // Longer than two of its checks.
    let mut fleet = Fleet::start(&[("shutdown.lame_duck_ms", "3000")]).await;
    let quick = [("timeout server 15s", "timeout server 3s")];
    let balancer = Balancer::start(Kind::HaProxy, &fleet.behind_open_doors(), &quick).await;
    is_without_harm(&mut fleet, &balancer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balancer_that_hangs_up_on_who_drains_is_found_by_the_drain_alone() {
    let mut fleet = Fleet::start(&[("shutdown.lame_duck_ms", "3000")]).await;
    let hangs_up = [(
        "default-server check",
        "default-server on-marked-down shutdown-sessions check",
    )];
    let balancer = Balancer::start(Kind::HaProxy, &fleet.behind_open_doors(), &hangs_up).await;
    let only = ["--only", "drain", "--only", "all-down"];
    let checked = disrupt(&mut fleet, &balancer.url, "3000", &only).await;
    println!("{}", checked.lines());
    assert_eq!(checked.with("FAIL"), ["drain"], "{}", checked.lines());
    assert!(
        checked.measured("drain").contains("cut off"),
        "{}",
        checked.lines()
    );
}
