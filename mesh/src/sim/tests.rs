use super::*;
use crate::merkle::mix;
use crate::wire::{Beat, Frame, Hello, Mark, Message};

const SECOND: Duration = Duration::from_secs(1);

fn topic(n: usize) -> TopicId {
    TopicId(n as u128)
}

/// A cluster of which everybody knows the first one, in working order.
fn cluster(seed: u64, size: usize, faults: Faults) -> World {
    let mut world = World::new(seed, size, settings(), faults);
    for index in 0..size {
        world.start(index, &[0], 0);
    }
    world.run(SECOND * 3);
    world
}

fn assert_good(world: &World, seed: u64) {
    assert_eq!(world.deliveries(), [], "seed {seed}");
    assert_eq!(world.unconverged(), [], "seed {seed}");
    assert_eq!(world.traffic.refused, 0, "seed {seed}");
}

#[test]
fn instances_find_each_other_through_one() {
    let world = cluster(1, 8, Faults::none());
    assert!((0..8).all(|index| world.node(index).unwrap().live() == 7));
    assert_good(&world, 1);
}

#[test]
fn an_event_visits_only_those_who_wait_for_it() {
    let mut world = cluster(2, 20, Faults::none());
    world.subscribe(3, topic(1));
    world.subscribe(7, topic(1));
    world.run(SECOND / 10);
    for publisher in 0..20 {
        world.publish(publisher, topic(1));
        world.publish(publisher, topic(2));
    }
    world.run(SECOND / 10);
    assert_good(&world, 2);
    assert_eq!(world.traffic.forwards, 38);
    assert_eq!(world.wasted(), 0);
}

/// Publishes and subscriptions at random, for a time.
fn work(world: &mut World, time: Duration, topics: usize) {
    let end = world.now() + time;
    while world.now() < end {
        let (index, topic) = (world.random.below(world.len()), topic(world.random.below(topics)));
        match world.random.below(8) {
            0 => world.subscribe(index, topic),
            1 => world.unsubscribe(index, topic),
            _ => world.publish(index, topic),
        }
        let pause = world.random.time(Duration::from_millis(20));
        world.run(pause);
    }
}

#[test]
fn nothing_is_missed_or_repeated_on_a_bad_network() {
    for seed in 0..20 {
        let faults = Faults {
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(30),
            loss: 0.05,
            repeat: 0.05,
            unanswered: 0.1,
            rate: None,
        };
        let mut world = cluster(seed, 5, Faults::none());
        world.set_faults(faults);
        work(&mut world, SECOND * 20, 30);
        world.set_faults(Faults::none());
        world.run(SECOND * 10);
        assert_good(&world, seed);
        assert_eq!(world.traffic.lost, 0, "seed {seed}: everything that was lost was fetched");
    }
}

#[test]
fn after_crashes_and_partitions_everybody_knows_everybody() {
    for seed in 100..120 {
        let mut world = cluster(seed, 6, Faults { loss: 0.02, ..Faults::none() });
        for _ in 0..12 {
            let (a, b) = (world.random.below(6), world.random.below(6));
            match world.random.below(4) {
                0 => {
                    world.crash(a);
                    let time = world.random.time(SECOND * 5);
                    work(&mut world, time, 30);
                    // The clock may have been set back meanwhile.
                    let skew = world.random.number() % 5_000;
                    world.start(a, &[0, b], skew);
                }
                // One direction only, as often as not.
                1 => world.set_reachable(a, b, false),
                2 => world.set_reachable(a, b, true),
                _ => {}
            }
            let time = world.random.time(SECOND * 4);
            work(&mut world, time, 30);
        }
        for a in 0..6 {
            for b in 0..6 {
                world.set_reachable(a, b, true);
            }
        }
        world.set_faults(Faults::none());
        world.run(SECOND * 10);
        assert_good(&world, seed);
        let count = world.published;
        work(&mut world, SECOND * 3, 30);
        world.run(SECOND);
        assert_good(&world, seed);
        assert!(world.published > count);
    }
}

#[test]
fn a_leaver_is_gone_at_once_and_may_return() {
    let mut world = cluster(5, 3, Faults::none());
    world.with(2, Node::leave);
    world.run(SECOND / 20);
    assert_eq!(world.node(0).unwrap().live(), 1);
    world.crash(2);
    world.start(2, &[1], 0);
    world.run(SECOND * 2);
    assert_eq!(world.node(0).unwrap().live(), 2);
    assert_good(&world, 5);
}

#[test]
fn a_fact_reaches_everybody_and_outlives_all_but_one() {
    let mut world = cluster(6, 4, Faults::none());
    let until = EPOCH_MS + 3_600_000;
    let fact = crate::facts::Fact::new(1, "token", until).unwrap();
    world.with(1, |node, now| node.add_fact(now, fact.clone()));
    world.run(SECOND / 10);
    assert!((0..4).all(|index| world.node(index).unwrap().facts().contains(&fact, EPOCH_MS)));
    for index in 0..3 {
        world.crash(index);
    }
    world.run(SECOND * 5);
    for index in 0..3 {
        world.start(index, &[3], 0);
    }
    world.run(SECOND * 5);
    assert!((0..4).all(|index| world.node(index).unwrap().facts().contains(&fact, EPOCH_MS)));
}

#[test]
fn a_peer_that_takes_nothing_costs_a_bounded_queue_and_nobody_else() {
    let mut settings = settings();
    settings.link.queue_events = 1_000;
    let mut world = World::new(7, 3, settings, Faults::none());
    for index in 0..3 {
        world.start(index, &[0], 0);
    }
    world.run(SECOND * 2);
    for index in 1..3 {
        world.subscribe(index, topic(1));
    }
    world.run(SECOND / 10);
    // Instance 2 hears and is heard, but acknowledges nothing.
    world.stalled = Some(2);
    for _ in 0..200 {
        for _ in 0..1_000 {
            world.publish(0, topic(1));
        }
        world.run(SECOND / 100);
    }
    let peers = world.with(0, |node, now| node.peers(now)).unwrap();
    let of = |index: usize| peers.iter().find(|p| p.id == NodeId::of(&format!("instance-{index}"))).unwrap();
    assert_eq!((of(1).dropped, of(1).queue), (0, 0));
    assert!(of(2).dropped > 0 && of(2).queue <= 1_000 && of(2).bytes < 50 << 20, "{:?}", of(2));
    let missing = world.deliveries();
    assert!(missing.iter().all(|violation| violation.instance == 2));
}

#[test]
fn a_subscription_that_changes_no_bit_waits_for_those_that_did() {
    let slow = Faults { delay: Duration::from_millis(20), ..Faults::none() };
    let mut world = cluster(8, 2, slow);
    for n in 0..100 {
        world.subscribe(0, topic(n));
        world.run(Duration::from_micros(100));
    }
    world.run(Duration::from_millis(2));
    let (version, known) = {
        let node = world.node(0).unwrap();
        let taken_for_one =
            (100..1_000_000).find(|n| node.interest().filter().may_contain(topic(*n))).unwrap();
        (node.interest().version(), topic(taken_for_one))
    };
    let waits = world.with(0, |node, _| node.subscribe(known)).unwrap();
    assert_eq!(waits, Some(version), "nobody has acknowledged anything yet");
    world.run(SECOND);
    assert!(world.node(0).unwrap().effective() >= version);
}

/// A cluster of two of which the second is not heard by the first for a time.
fn heard_by_one_only(seed: u64, time: Duration) -> World {
    let slow = Faults { delay: Duration::from_millis(20), ..Faults::none() };
    let mut world = cluster(seed, 2, slow);
    for _ in 0..50 {
        world.subscribe(0, topic(1));
        world.publish(1, topic(1));
        world.run(Duration::from_millis(50));
    }
    world.set_reachable(1, 0, false);
    world.run(time);
    assert!(!world.node(0).unwrap().is_live(NodeId::of("instance-1")));
    world
}

fn publish_steadily(world: &mut World, topic: TopicId, time: Duration) {
    let end = world.now() + time;
    while world.now() < end {
        world.publish(1, topic);
        world.run(Duration::from_millis(1));
    }
}

#[test]
fn a_peer_that_did_not_notice_a_parting_forgets_what_it_knew() {
    let mut world = heard_by_one_only(9, Duration::from_millis(4_500));
    world.subscribe(0, topic(2));
    world.set_reachable(1, 0, true);
    publish_steadily(&mut world, topic(2), SECOND * 3);
    world.run(SECOND);
    assert_good(&world, 9);
}

#[test]
fn a_link_to_a_forgotten_peer_does_not_go_on_where_it_ended() {
    let mut world = heard_by_one_only(10, SECOND * 90);
    world.set_reachable(1, 0, true);
    world.run(SECOND * 5);
    world.subscribe(1, topic(3));
    world.run(SECOND);
    for _ in 0..5 {
        world.publish(0, topic(3));
        world.run(SECOND / 10);
    }
    world.run(SECOND * 3);
    assert_good(&world, 10);
}

/// What a peer says may be wrong in every way. It harms nobody's memory, and nothing panics.
#[test]
fn a_hundred_thousand_broken_messages_of_a_peer_do_no_harm() {
    // Anew every thousand, since one of them may begin the link in an epoch that the samples are not of.
    let refused: u64 = (0..100).map(|seed| say_broken_things(seed, 1_000)).sum();
    assert!(refused > 5_000, "{refused}");
}

fn say_broken_things(seed: u64, count: u64) -> u64 {
    let mut world = cluster(seed, 3, Faults::none());
    world.subscribe(1, topic(1));
    world.run(SECOND / 10);
    let (node, other) = (world.node(0).unwrap(), world.node(1).unwrap());
    let sender = Sender { id: other.id(), session: other.session(), answers: node.session() };
    let event = Event {
        topic: topic(1),
        stamp: Stamp { clock: 1, origin: 1 },
        name: None,
        trace: Some(&[1; 25]),
        block: b"data: x\n\n",
    };
    let mut frames = Vec::new();
    event.encode(&mut frames);
    for frame in [
        Frame::Interest(vec![1; 40].into()),
        Frame::Facts(crate::facts::Fact::new(1, "token", u64::MAX).unwrap().encode().into()),
        Frame::Dropped(3),
    ] {
        frame.encode(&mut frames);
    }
    let mark = |number| Mark { epoch: 1, number };
    let summary = other.interest().summary().encode();
    let samples = [
        Message::Hello(Hello::new("instance-1", &[address(1)], address(0), Some(address(1)))),
        Message::Batch { ack: mark(1), mark: mark(2), frames: frames.into() },
        Message::Beat(Beat {
            ack: mark(1),
            last: mark(9),
            summary: summary.into(),
            facts: 7,
            members: 7,
            clock_ms: 0,
        }),
    ]
    .map(|message| message.into_body().to_bytes().to_vec());
    let mut random = Random::new(seed);
    for n in 0..count {
        let mut body = samples[random.below(samples.len())].clone();
        for _ in 0..random.below(4) {
            let at = random.below(body.len());
            body[at] = u8::try_from(random.below(256)).unwrap();
        }
        if random.chance(0.2) {
            body.truncate(random.below(body.len() + 1));
        }
        let body = Bytes::from(body);
        world.with(0, |node, now| match n % 10 {
            0 => drop(node.request(now, sender, n, &body)),
            _ => node.message(now, sender, &body),
        });
        if n % 100 == 0 {
            world.run(Duration::from_millis(50));
        }
    }
    let node = world.node(0).unwrap();
    let peers = node.peers(Now { elapsed: world.now(), unix_ms: 0 });
    assert!(peers.len() <= 3, "{peers:?}");
    assert!(peers.iter().all(|peer| peer.bytes < 1 << 20 && peer.filter_bytes < 1 << 20), "{peers:?}");
    assert!(node.facts().len() < 1_000);
    node.counters().refused
}

#[test]
fn a_new_instance_knows_everybodys_interest_long_before_a_heartbeat() {
    let mut world = World::new(11, 20, settings(), Faults::none());
    for index in 0..19 {
        world.start(index, &[0], 0);
        world.subscribe_all(index, (0..2_000).map(|n| topic(n * 19 + index)));
    }
    world.run(SECOND * 3);
    assert_good(&world, 11);
    world.start(19, &[0], 0);
    world.run(SECOND / 20);
    assert_good(&world, 11);
}

/// Everybody knows the first, nobody is told anything twice without need.
#[test]
fn members_are_told_to_those_who_do_not_know_them() {
    let size = 30;
    let mut world = World::new(12, size, settings(), Faults::none());
    for index in 0..size {
        world.start(index, &[0], 0);
    }
    world.run(SECOND * 3);
    assert_good(&world, 12);
    let bytes = |world: &World| world.traffic.bytes.iter().sum::<u64>();
    let before = bytes(&world);
    world.run(SECOND * 100);
    // A beat to each peer in each second, of less than a hundred bytes.
    let pairs = (size * (size - 1)) as u64;
    assert!(bytes(&world) - before < pairs * 101 * 100, "{}", bytes(&world) - before);
}

/// Two that cannot reach each other take each other for gone. What one of them publishes meanwhile, the other misses; when they
/// meet again it is told how much.
#[test]
fn what_is_published_while_a_peer_cannot_be_reached_is_told_to_it() {
    let mut world = cluster(13, 3, Faults::none());
    for index in 0..3 {
        world.subscribe(index, topic(1));
    }
    world.run(SECOND);
    // One direction only.
    world.set_reachable(0, 1, false);
    for _ in 0..1_000 {
        world.publish(0, topic(1));
        world.publish(0, topic(2));
        world.run(Duration::from_millis(6));
    }
    let owed = |world: &World| world.deliveries().into_iter().filter(|missing| missing.instance == 1).count();
    assert!(!world.node(0).unwrap().is_live(NodeId::of("instance-1")));
    world.set_reachable(0, 1, true);
    world.run(SECOND * 5);
    world.publish(0, topic(1));
    world.run(SECOND);
    assert_eq!(owed(&world), 0, "what was on its way when they parted is excused, the rest was not owed");
    let arrived = world.oracle.arrived_at(1);
    assert!(arrived < 1_000 && world.traffic.lost >= 1_001 - arrived, "{arrived} {}", world.traffic.lost);
    // Nothing of the other topic, but for what the filter takes for it.
    assert!(world.traffic.lost < 1_100, "{}", world.traffic.lost);
    assert_eq!(world.unconverged(), []);
}

/// Instances that know each other's interest send little in vain, few topics or many. More of it comes only while an instance is
/// new, or after topics have lost their last subscriber and before that is told.
#[test]
fn little_is_sent_in_vain_to_three_instances_with_three_hundred_topics() {
    let (mut wasted, mut without) = (0, 0);
    for seed in 20..30 {
        let mut world = cluster(seed, 3, Faults::none());
        let topics: Vec<_> = (0..300).map(|n| TopicId(u128::from(mix(seed * 1_000 + n)) << 64)).collect();
        for (n, topic) in topics.iter().enumerate() {
            world.subscribe(n % 3, *topic);
        }
        world.run(SECOND * 2);
        for (n, topic) in topics.iter().enumerate() {
            world.publish(n % 3, *topic);
        }
        world.run(SECOND);
        wasted += world.wasted();
        without += topics.len() as u64 * 2;
    }
    assert!((wasted as f64) < 0.01 * without as f64, "{wasted} of {without}");
}
