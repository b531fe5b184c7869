//! The proxy's image as it would be run without an operator: a `StatefulSet` behind Services.

use std::time::{Duration, Instant};

use e2e::harness::sse::{self, Event, Next, Stream};
use e2e::harness::{self, Entrance, Outcome, Sandbox, ready};
use futures_util::future::try_join_all;
use http::StatusCode;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

const REPLICAS: usize = 3;
/// Longest wait for three pods on a busy machine.
const ROLLOUT: Duration = Duration::from_secs(90);
/// Longest wait for an event.
const EVENT: Duration = Duration::from_secs(10);

async fn deploy(sandbox: &Sandbox) -> Outcome {
    sandbox.apply(&include_str!("proxy.yaml").replace("@IMAGE@", &harness::image("proxy"))).await?;
    sandbox.wait::<StatefulSet>("proxy", ROLLOUT, ready::stateful_set).await?;
    Ok(())
}

/// Publishes, and returns the id that the proxy gave the event.
async fn publish(address: std::net::SocketAddr, topic: &str, data: &str) -> Outcome<String> {
    let (status, body) = sse::request(address, "POST", &format!("/events/{topic}"), data.to_owned()).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let accepted: serde_json::Value = serde_json::from_str(&body)?;
    Ok(accepted["id"].as_str().ok_or_else(|| format!("no id in {body}"))?.to_owned())
}

/// The next event that has data.
async fn next_data(stream: &mut Stream) -> Outcome<Event> {
    loop {
        match stream.next(EVENT).await? {
            Next::Event(event) if event.data.is_some() => return Ok(event),
            Next::Event(_) => {}
            Next::End => return Err("the stream ended".into()),
        }
    }
}

/// What is published at an address reaches a subscriber at the same address, with the id that the publisher was told.
async fn round_trip(entrance: &Entrance, service: &str) -> Outcome {
    let topic = format!("to-{service}");
    let mut stream = Stream::open(entrance.address, &format!("/events/{topic}")).await?;
    let data = format!("first line by {service}\nsecond line");
    let id = publish(entrance.address, &topic, &data).await?;
    let event = next_data(&mut stream).await?;
    assert_eq!(event.data.as_deref(), Some(data.as_str()));
    let seen = event.id.unwrap_or_default();
    assert!(seen.starts_with(&id), "accepted as {id}, delivered as {seen}");
    Ok(())
}

#[test]
fn an_event_reaches_a_subscriber_of_the_same_instance_through_a_service() {
    harness::run("round_trip", async |sandbox| {
        deploy(sandbox).await?;
        for instance in 0..REPLICAS {
            let service = format!("proxy-{instance}");
            round_trip(&sandbox.enter(&service, 80).await?, &service).await?;
        }
        round_trip(&sandbox.enter("proxy", 80).await?, "proxy").await?;
        // The way that is taken where addresses of Services lead nowhere from here.
        round_trip(&sandbox.forward("proxy-0", 80).await?, "forwarded").await
    });
}

#[test]
fn probes_answer_and_a_pod_is_ready_within_two_seconds() {
    harness::run("start", async |sandbox| {
        deploy(sandbox).await?;
        let entrance = sandbox.enter("proxy-0", 80).await?;
        for path in ["/livez", "/readyz", "/health"] {
            let (status, body) = sse::request(entrance.address, "GET", path, "").await?;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
        }
        let (status, body) = sse::request(entrance.address, "GET", "/metrics", "").await?;
        assert_eq!(status, StatusCode::OK, "/metrics: {body}");
        for line in ["# TYPE revenprox_connections_active gauge", "revenprox_connections_active 0"] {
            assert!(body.lines().any(|l| l == line), "{line:?} is not in the metrics:\n{body}");
        }
        // The best of three: the machine does other things too.
        let mut times = Vec::new();
        for _ in 0..3 {
            times.push(replace_pod(sandbox, "proxy-2").await?);
        }
        println!("from creation of a proxy pod to ready: {times:?}");
        let best = times.iter().min().expect("three were measured");
        assert!(*best <= Duration::from_secs(2), "{times:?}");
        Ok(())
    });
}

/// Has the `StatefulSet` make a pod anew; returns the time from its creation until it is ready.
async fn replace_pod(sandbox: &Sandbox, name: &str) -> Outcome<Duration> {
    let old = sandbox.api::<Pod>().get(name).await?.metadata.uid;
    sandbox.api::<Pod>().delete(name, &DeleteParams::default()).await?;
    let is_new =
        |pod: &Pod| if pod.metadata.uid == old { Err("still the old one".to_owned()) } else { Ok(()) };
    sandbox.wait::<Pod>(name, Duration::from_mins(1), is_new).await?;
    let created = Instant::now();
    sandbox
        .wait::<Pod>(name, Duration::from_mins(1), |pod| is_new(pod).and_then(|()| ready::pod(pod)))
        .await?;
    Ok(created.elapsed())
}

#[test]
fn deleting_a_pod_drains_it() {
    harness::run("drain", async |sandbox| {
        deploy(sandbox).await?;
        let entrance = sandbox.enter("proxy-1", 80).await?;
        let address = entrance.address;
        let streams =
            (0..20).map(|index| async move { Stream::open(address, &format!("/events/room-{index}")).await });
        let streams = try_join_all(streams).await?;
        sandbox.api::<Pod>().delete("proxy-1", &DeleteParams::default()).await?;
        let ends = streams.into_iter().map(|stream| end_in_good_order(stream, address));
        let ends = try_join_all(ends).await?;
        assert!(ends.iter().any(|end| end.saw_not_ready), "nobody saw the proxy say that it was not ready");
        let told: std::collections::BTreeSet<u64> = ends.iter().map(|end| end.retry).collect();
        assert!(told.len() > 1, "all were told to come back at the same time: {told:?}");
        // The StatefulSet makes it anew, and it serves again.
        sandbox.wait::<StatefulSet>("proxy", ROLLOUT, ready::stateful_set).await?;
        round_trip(&sandbox.enter("proxy-1", 80).await?, "proxy-1").await
    });
}

/// How a stream ended.
struct End {
    /// When its subscriber was told to come back, in milliseconds.
    retry: u64,
    /// Whether the proxy then said that it was not ready; if not, it took no more connections.
    saw_not_ready: bool,
}

#[test]
fn a_pod_without_subscribers_ends_by_itself_at_once() {
    harness::run("end", async |sandbox| {
        deploy(sandbox).await?;
        let deleted = Instant::now();
        sandbox.api::<Pod>().delete("proxy-0", &DeleteParams::default()).await?;
        let old = sandbox.api::<Pod>().get("proxy-0").await?.metadata.uid;
        let is_new = |pod: &Pod| if pod.metadata.uid == old { Err("still there".to_owned()) } else { Ok(()) };
        // Half of the time after which the kubelet kills it.
        sandbox.wait::<Pod>("proxy-0", Duration::from_secs(15), is_new).await?;
        println!("from deletion of a proxy pod to its end: {:?}", deleted.elapsed());
        Ok(())
    });
}

/// Reads a stream to its orderly end. By then the proxy must not say any more that it is ready.
async fn end_in_good_order(mut stream: Stream, address: std::net::SocketAddr) -> Outcome<End> {
    let mut retry = None;
    while let Next::Event(event) = stream.next(Duration::from_secs(30)).await? {
        retry = event.retry.or(retry);
    }
    let answer = sse::request(address, "GET", "/readyz", "").await;
    if let Ok((status, body)) = &answer {
        assert_eq!(
            *status,
            StatusCode::SERVICE_UNAVAILABLE,
            "a stream ended while the proxy was ready: {body}"
        );
    }
    let retry = retry.ok_or("a stream ended without a retry field")?;
    Ok(End { retry, saw_not_ready: answer.is_ok() })
}
