//! Healthy balancers pass; each broken one is found out by one phase and by no other.

use futures::{StreamExt, stream};

use super::balancer::{Balancer, Behind, Kind, free_address};
use super::fleet::{Checked, Fleet};

/// Balancers that are checked at the same time.
const AT_ONCE: usize = 2;

/// The phases that disturb nothing.
const ALL: [&str; 6] = [
    "discover",
    "spread",
    "headers",
    "websocket",
    "rate-limit",
    "upload",
];

struct Broken {
    name: &'static str,
    kind: Kind,
    changes: &'static [(&'static str, &'static str)],
    /// One of the three is not there.
    one_dead: bool,
    phase: &'static str,
    /// What the phase says.
    words: &'static str,
}

const NGINX: Broken = Broken {
    name: "",
    kind: Kind::Nginx,
    changes: &[],
    one_dead: false,
    phase: "",
    words: "",
};

const HAPROXY: Broken = Broken {
    kind: Kind::HaProxy,
    ..NGINX
};

const BROKEN_NGINX: [Broken; 6] = [
    Broken {
        name: "sticky",
        changes: &[("least_conn;", "ip_hash;")],
        phase: "spread",
        words: "never chosen",
        ..NGINX
    },
    Broken {
        name: "one dead",
        one_dead: true,
        phase: "discover",
        words: "2 instance(s)",
        ..NGINX
    },
    Broken {
        name: "no upgrade",
        changes: &[(
            "proxy_set_header Upgrade $upgrade;",
            "proxy_set_header Upgrade \"\";",
        )],
        phase: "websocket",
        words: "no WebSocket",
        ..NGINX
    },
    Broken {
        name: "buffered uploads",
        changes: &[("proxy_request_buffering off;", "")],
        phase: "upload",
        words: "first byte after",
        ..NGINX
    },
    Broken {
        name: "limits that queue",
        changes: &[(" nodelay;", ";")],
        phase: "rate-limit",
        words: "slowest of them",
        ..NGINX
    },
    Broken {
        name: "spoofable",
        changes: &[(
            "X-Forwarded-For $remote_addr;",
            "X-Forwarded-For $http_x_forwarded_for;",
        )],
        phase: "headers",
        words: "x-forwarded-for came through",
        ..NGINX
    },
];

const BROKEN_HAPROXY: [Broken; 6] = [
    Broken {
        name: "sticky",
        changes: &[("balance leastconn", "balance source")],
        phase: "spread",
        words: "never chosen",
        ..HAPROXY
    },
    Broken {
        name: "one dead",
        // Noticed before shares are looked at: what is sent to others meanwhile is not spread evenly.
        changes: &[("inter 1s fastinter 250ms", "inter 50ms")],
        one_dead: true,
        phase: "discover",
        words: "2 instance(s)",
        ..HAPROXY
    },
    Broken {
        name: "no upgrade",
        changes: &[(
            "http-request del-header TE\n",
            "http-request del-header Upgrade\n",
        )],
        phase: "websocket",
        words: "no WebSocket",
        ..HAPROXY
    },
    // Its buffer holds a head; to hold an upload back it must be made as large as one.
    Broken {
        name: "buffered uploads",
        changes: &[
            ("  maxconn 8000", "  tune.bufsize 5000000\n  maxconn 8000"),
            (
                "backend serve\n",
                "backend serve\n  option http-buffer-request\n",
            ),
        ],
        phase: "upload",
        words: "first byte after",
        ..HAPROXY
    },
    Broken {
        name: "no burst",
        changes: &[("sc0_gpc0_rate(api) gt 20", "sc0_gpc0_rate(api) gt 5")],
        phase: "rate-limit",
        words: "let through",
        ..HAPROXY
    },
    Broken {
        name: "spoofable",
        changes: &[
            ("http-request del-header X-Forwarded- -m beg\n", "\n"),
            (
                "http-request set-header X-Forwarded-For %[src]",
                "http-request add-header X-Forwarded-For %[src]",
            ),
        ],
        phase: "headers",
        words: "x-forwarded-for came through",
        ..HAPROXY
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_passes_and_what_is_broken_is_found_by_its_phase_alone() {
    let fleet = Fleet::start(&[]).await;
    let healthy = checked(&fleet, Kind::Nginx, &fleet.behind(), &[]).await;
    println!("nginx\n{}", healthy.lines());
    assert_eq!(healthy.with("PASS"), ALL, "{}", healthy.lines());
    assert_eq!(healthy.code, Some(0));
    assert_eq!(healthy.report["schema"], "spheroctl.lb-check/1");
    assert_eq!(healthy.report["outcome"], "pass");
    assert_eq!(healthy.report["server"], "nginx");
    assert_eq!(
        healthy.report["instances"].as_array().map(Vec::len),
        Some(3)
    );
    all_found_out(&fleet, &BROKEN_NGINX).await;
}

async fn all_found_out(fleet: &Fleet, broken: &[Broken]) {
    let found = stream::iter(broken).map(|broken| found_out(fleet, broken));
    found.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

async fn found_out(fleet: &Fleet, broken: &Broken) {
    let mut behind = fleet.behind();
    if broken.one_dead {
        behind.serve[2] = free_address();
    }
    let checked = checked(fleet, broken.kind, &behind, broken.changes).await;
    println!("{}\n{}", broken.name, checked.lines());
    assert_eq!(
        checked.with("FAIL"),
        [broken.phase],
        "{}: {}",
        broken.name,
        checked.lines()
    );
    let measured = checked.measured(broken.phase);
    assert!(
        measured.contains(broken.words),
        "{}: {measured}",
        broken.name
    );
    assert_eq!(checked.code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_passes_and_what_is_broken_is_found_by_its_phase_alone() {
    let fleet = Fleet::start(&[]).await;
    let healthy = checked(&fleet, Kind::HaProxy, &fleet.behind(), &[]).await;
    println!("HAProxy\n{}", healthy.lines());
    assert_eq!(healthy.with("FAIL"), [""; 0], "{}", healthy.lines());
    // It removes Content-Length where there is a Transfer-Encoding, as RFC 9112 allows, instead of refusing.
    assert_eq!(healthy.with("WARN"), ["headers"], "{}", healthy.lines());
    assert_eq!(healthy.code, Some(0));
    all_found_out(&fleet, &BROKEN_HAPROXY).await;
}

#[tokio::test]
async fn where_nobody_is_there_is_nothing_to_check() {
    let fleet_less = crate::support::process::command(
        &["lb-check", &format!("http://{}", free_address()), "--json"],
        &[],
    )
    .output()
    .await
    .expect("the executable starts");
    assert_eq!(fleet_less.status.code(), Some(69), "{fleet_less:?}");
    let typo = crate::support::process::command(&["lb-check", "lab:8000"], &[])
        .output()
        .await;
    assert_eq!(typo.expect("the executable starts").status.code(), Some(2));
}

async fn checked(fleet: &Fleet, kind: Kind, behind: &Behind, changes: &[(&str, &str)]) -> Checked {
    let balancer = Balancer::start(kind, behind, changes).await;
    fleet.check(&balancer.url, &[]).await
}
