//! Scaling by connections: up at once, down one by one, and nobody is cut off without a drain.

use std::time::{Duration, Instant};

use e2e::harness::sse::{Next, Stream};
use e2e::harness::{self, Outcome};
use futures_util::future::{join_all, try_join_all};
use revenprox_operator::crd::RevenProxCluster;
use serde_json::json;

use crate::support::{self, ROLLOUT, basic};

/// How many subscribers a proxy should have.
const TARGET: usize = 40;

/// Longest time until more subscribers have brought another proxy: the proxies are asked every ten seconds or so.
const UP: Duration = Duration::from_secs(30);

/// Watches the wanted number until it is `to`; returns every number that it was.
async fn numbers_until(sandbox: &harness::Sandbox, to: i32) -> Outcome<Vec<i32>> {
    let (mut seen, started) = (Vec::new(), Instant::now());
    loop {
        let now = sandbox.api::<RevenProxCluster>().get("demo").await?.spec.replicas;
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        if now == to {
            return Ok(seen);
        }
        if started.elapsed() > ROLLOUT {
            return Err(format!("the number of proxies has been {seen:?}, not {to}").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads a stream to its end; returns whether it ended in good order, with a word about when to come back.
async fn drained(mut stream: Stream) -> bool {
    let mut retry = None;
    loop {
        match stream.next(Duration::from_mins(3)).await {
            Ok(Next::Event(event)) => retry = event.retry.or(retry),
            Ok(Next::End) => return retry.is_some(),
            Err(_) => return false,
        }
    }
}

#[test]
fn replicas_follow_the_connections() {
    harness::run("operator_autoscaling", async |sandbox| {
        let operator = support::install(sandbox).await?;
        let scaling = json!({
            "minReplicas": 1, "maxReplicas": 4, "targetConnections": TARGET, "scaleDownAfterSeconds": 15,
        });
        operator.start(&basic("demo", &json!({ "spec": { "replicas": 1, "autoscaling": scaling } }))).await?;
        let entrance = sandbox.enter("demo", 80).await?;
        let open = async |count: usize| {
            try_join_all((0..count).map(|_| Stream::open(entrance.address, "/events/a"))).await
        };
        let first = open(TARGET + 5).await?;
        let started = Instant::now();
        assert_eq!(numbers_until(sandbox, 2).await?.last(), Some(&2));
        println!("from {} subscribers to a second proxy: {:?}", first.len(), started.elapsed());
        assert!(started.elapsed() < UP, "{:?}", started.elapsed());
        operator.ready("demo", 2).await?;
        let second = open(TARGET * 2).await?;
        numbers_until(sandbox, 4).await?;
        let cluster = operator.ready("demo", 4).await?;
        let decision = cluster.status.and_then(|status| status.autoscaling).ok_or("no decision is told")?;
        assert!(decision.reason.contains("subscribers need 4 proxies"), "{}", decision.reason);

        // Most leave; whoever stays is on one of the pods that are left or that go.
        drop(second);
        let stay = first.into_iter().take(20).map(drained);
        let watching = tokio::task::LocalSet::new();
        let ends = watching.run_until(async {
            let ends = tokio::task::spawn_local(join_all(stay));
            let seen = numbers_until(sandbox, 1).await?;
            operator.ready("demo", 1).await?;
            Ok::<_, Box<dyn std::error::Error>>((seen, ends))
        });
        let (seen, ends) = ends.await?;
        println!("on the way down: {seen:?}");
        assert_eq!(seen, [4, 3, 2, 1], "one by one");
        // Those on the last pod are still connected; the others were drained.
        operator.scale("demo", 0).await?;
        let ends = watching.run_until(ends).await?;
        assert!(ends.iter().all(|drained| *drained), "{ends:?}");
        let events = sandbox.tool("kubectl", &["get", "events", "--field-selector", "reason=Scaled"]).await?;
        assert!(events.contains("Scaled"), "{events}");
        Ok(())
    });
}
