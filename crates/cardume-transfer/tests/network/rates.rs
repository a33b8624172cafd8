//! Each limit of the configuration holds for those whose it is, and for nobody else; in virtual time.
use cardume_access::rates::Class;
use cardume_content::PIECE;
use cardume_transfer::rates::{Changes, Config, Schedule};
use cardume_units::{Limit, Rate};
use futures::StreamExt as _;
use libp2p_swarm::SwarmEvent;

use crate::{
    node::Node,
    pace::{answer, assert_close, fetch},
};

/// A piece a second.
const LIMIT: Limit = Limit(Some(Rate(PIECE)));
const PIECES: u8 = 4;

/// What limits: what leaves the node that is configured, or what comes to it.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Out,
    In,
}

/// How long it takes to get some pieces, in seconds, where one of the two nodes is configured.
async fn seconds(config: &Config, way: Way, class: Class) -> f64 {
    let limited = || {
        let (handle, server) = config.build();
        tokio::spawn(server.run(std::future::pending()));
        handle
    };
    let free = || Config::default().build().0;
    let (giving, taking) = match way {
        Way::Out => (limited(), free()),
        Way::In => (free(), limited()),
    };
    let ((mut taker, _), (giver, address)) = (Node::at(class, taking).await, Node::at(class, giving).await);
    let peer = giver.peer();
    giver.serve(|request| answer(&request));
    taker.swarm.dial(address).unwrap();
    while !matches!(
        taker.swarm.select_next_some().await,
        SwarmEvent::ConnectionEstablished { .. }
    ) {}
    let (handle, _server) = taker.run();
    fetch(&handle, peer, PIECES, 2).await
}

/// For whom a key is, which way it counts, and how it is set.
type Row<T> = (&'static str, &'static [Class], &'static [Way], fn(&mut T));

async fn check<T>(rows: &[Row<T>], config: impl Fn(fn(&mut T)) -> Config) {
    for (key, classes, ways, set) in rows {
        for class in Class::ALL {
            for way in [Way::Out, Way::In] {
                let took = seconds(&config(*set), way, class).await;
                match classes.contains(&class) && ways.contains(&way) {
                    true => assert_close(took, f64::from(PIECES)),
                    false => assert!(took < 0.5, "{key}: {took} s for {class:?}"),
                }
            }
        }
    }
}

const OUT: &[Way] = &[Way::Out];
const IN: &[Way] = &[Way::In];
const BOTH: &[Way] = &[Way::Out, Way::In];

#[tokio::test(start_paused = true)]
async fn each_limit_of_the_configuration_holds_for_those_whose_it_is() {
    let rows: [Row<Config>; 12] = [
        ("upload", &Class::ALL, OUT, |all| all.upload = LIMIT),
        ("download", &Class::ALL, IN, |all| all.download = LIMIT),
        ("per_peer", &Class::ALL, BOTH, |all| all.per_peer = LIMIT),
        ("lan.upload", &[Class::Lan], OUT, |all| all.lan.upload = LIMIT),
        ("lan.download", &[Class::Lan], IN, |all| all.lan.download = LIMIT),
        ("lan.per_peer", &[Class::Lan], BOTH, |all| {
            all.lan.per_peer = LIMIT
        }),
        ("wan.upload", &[Class::Wan], OUT, |all| all.wan.upload = LIMIT),
        ("wan.download", &[Class::Wan], IN, |all| all.wan.download = LIMIT),
        ("wan.per_peer", &[Class::Wan], BOTH, |all| {
            all.wan.per_peer = LIMIT
        }),
        ("relay.upload", &[Class::Relay], OUT, |all| {
            all.relay.upload = LIMIT;
        }),
        ("relay.download", &[Class::Relay], IN, |all| {
            all.relay.download = LIMIT;
        }),
        ("relay.per_peer", &[Class::Relay], BOTH, |all| {
            all.relay.per_peer = LIMIT;
        }),
    ];
    check(&rows, |set| {
        let mut config = Config::default();
        set(&mut config);
        config
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_limit_of_a_schedule_holds_in_its_hours_for_those_whose_it_is() {
    const SET: Option<Limit> = Some(LIMIT);
    let rows: [Row<Schedule>; 12] = [
        ("upload", &Class::ALL, OUT, |all| all.upload = SET),
        ("download", &Class::ALL, IN, |all| all.download = SET),
        ("per_peer", &Class::ALL, BOTH, |all| all.per_peer = SET),
        ("lan.upload", &[Class::Lan], OUT, |all| all.lan.upload = SET),
        ("lan.download", &[Class::Lan], IN, |all| all.lan.download = SET),
        ("lan.per_peer", &[Class::Lan], BOTH, |all| all.lan.per_peer = SET),
        ("wan.upload", &[Class::Wan], OUT, |all| all.wan.upload = SET),
        ("wan.download", &[Class::Wan], IN, |all| all.wan.download = SET),
        ("wan.per_peer", &[Class::Wan], BOTH, |all| all.wan.per_peer = SET),
        ("relay.upload", &[Class::Relay], OUT, |all| {
            all.relay.upload = SET;
        }),
        ("relay.download", &[Class::Relay], IN, |all| {
            all.relay.download = SET;
        }),
        ("relay.per_peer", &[Class::Relay], BOTH, |all| {
            all.relay.per_peer = SET;
        }),
    ];
    check(&rows, |set| {
        let mut always = Schedule {
            days: Vec::new(),
            from: jiff::civil::Time::midnight(),
            to: jiff::civil::Time::midnight(),
            upload: None,
            download: None,
            per_peer: None,
            lan: Changes::default(),
            wan: Changes::default(),
            relay: Changes::default(),
        };
        set(&mut always);
        Config {
            schedule: [("always".to_owned(), always)].into(),
            ..Config::default()
        }
    })
    .await;
}
