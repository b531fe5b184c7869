//! The network between instances: connections that keep order, take their time, lose messages, break and come back.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use revenprox_mesh::{
    identity::Address,
    sim::Random,
    transport::{Event, Message, RequestFailed, Stats, Ticket, TransportError},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

use crate::mesh::sockets::Sockets;

/// How long an answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How long after a failure a connection is tried again, at most.
const AGAIN_MAX: Duration = Duration::from_millis(500);

/// How long a subscribe waits by default until others know of it.
const SUBSCRIBE_WAIT: Duration = Duration::from_millis(100);

/// How long it takes at most until a lost message is sent again.
const LOST_AGAIN: Duration = Duration::from_secs(2);

/// Messages that were received and wait for an instance.
pub(super) const INBOX: usize = 4096;

/// How the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// The longest that a message takes.
    pub(super) delay: Duration,
    /// How many messages are lost.
    pub(super) loss: f64,
}

impl Weather {
    /// What `nng.subscribe_wait_ms` is to be here: there and back, and once more if a message is lost.
    pub(super) fn subscribe_wait(&self) -> Duration {
        let again = if self.loss > 0.0 { LOST_AGAIN } else { Duration::ZERO };
        SUBSCRIBE_WAIT.max(self.delay * 3 + again)
    }
}

/// One run of an instance.
pub(super) type Run = (usize, u64);

/// See the module.
pub(super) struct Network {
    state: Mutex<State>,
    news: Notify,
    addresses: Vec<Address>,
}

struct State {
    random: Random,
    weather: Weather,
    steps: BinaryHeap<Reverse<Step>>,
    count: u64,
    running: BTreeMap<usize, Running>,
    /// From whom to whom nothing passes.
    cuts: Vec<(usize, usize)>,
}

struct Running {
    run: u64,
    events: mpsc::Sender<Event>,
    links: BTreeMap<usize, Link>,
}

/// A connection from one instance to another.
struct Link {
    /// To which run it is up.
    up: Option<u64>,
    last: Instant,
}

/// What happens at some time, in the order of time and then of being decided.
struct Step {
    at: Instant,
    number: u64,
    what: What,
}

enum What {
    Arrive(Run, Event),
    Connect(Run, usize),
    Break(Run, usize),
    TimeOut(Run, u64, Arc<AtomicBool>),
}

/// The network as one run of an instance sees it.
pub(super) struct Ends {
    pub(super) network: Arc<Network>,
    pub(super) me: Run,
}

// === impl Network ===

impl Network {
    pub(super) fn new(instances: usize, weather: Weather, random: Random) -> Arc<Self> {
        let address = |index: usize| Address::new(&format!("tcp://10.0.0.{}:5555", index + 1));
        let addresses = (0..instances).map(|index| address(index).expect("it is an address")).collect();
        let state = State {
            random,
            weather,
            steps: BinaryHeap::new(),
            count: 0,
            running: BTreeMap::new(),
            cuts: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), news: Notify::new(), addresses })
    }

    pub(super) fn subscribe_wait(&self) -> Duration {
        self.state.lock().weather.subscribe_wait()
    }

    pub(super) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// A run of an instance begins to listen.
    pub(super) fn join(&self, (index, run): Run) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(INBOX);
        let running = Running { run, events, links: BTreeMap::new() };
        self.state.lock().running.insert(index, running);
        receiver
    }

    /// An instance is gone; others find their connections broken.
    pub(super) fn leave(&self, index: usize) {
        let mut state = self.state.lock();
        state.running.remove(&index);
        state.break_links(|_, to| to == index);
        drop(state);
        self.news.notify_one();
    }

    /// Lets nothing pass from one instance to another.
    pub(super) fn cut(&self, from: usize, to: usize) {
        self.state.lock().cuts.push((from, to));
    }

    /// Lets everything pass again. What was sent meanwhile is lost with its connection.
    pub(super) fn heal(&self) {
        let mut state = self.state.lock();
        let cuts = std::mem::take(&mut state.cuts);
        state.break_links(|from, to| cuts.contains(&(from, to)) || cuts.contains(&(to, from)));
        drop(state);
        self.news.notify_one();
    }

    /// Runs until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                state.run_until(Instant::now(), &self.addresses);
                state.steps.peek().map(|step| step.0.at)
            };
            match next {
                Some(at) => tokio::select! {
                    biased;
                    () = self.news.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.news.notified().await,
            }
        }
    }

    fn index(&self, address: &Address) -> Option<usize> {
        self.addresses.iter().position(|known| known == address)
    }
}

// === impl State ===

impl State {
    fn plan(&mut self, at: Instant, what: What) {
        self.count += 1;
        self.steps.push(Reverse(Step { at, number: self.count, what }));
    }

    fn delay(&mut self) -> Duration {
        let most = self.weather.delay;
        self.random.time(most)
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.contains(&(from, to))
    }

    fn break_links(&mut self, which: impl Fn(usize, usize) -> bool) {
        let up = self.running.iter().flat_map(|(from, running)| {
            let links = running.links.iter().filter(|(_, link)| link.up.is_some());
            links.map(|(to, _)| ((*from, running.run), *to))
        });
        let broken: Vec<_> = up.filter(|((from, _), to)| which(*from, *to)).collect();
        for (from, to) in broken {
            let at = Instant::now() + self.delay();
            self.plan(at, What::Break(from, to));
        }
    }

    fn run_until(&mut self, now: Instant, addresses: &[Address]) {
        while self.steps.peek().is_some_and(|step| step.0.at <= now) {
            let Some(Reverse(step)) = self.steps.pop() else { return };
            match step.what {
                What::Arrive(to, event) => self.tell(to, event),
                What::TimeOut(to, tag, answered) => {
                    if !answered.load(Ordering::Relaxed) {
                        self.tell(to, Event::Reply { tag, answer: Err(RequestFailed) });
                    }
                }
                What::Connect(from, to) => self.connect(now, from, to, &addresses[to]),
                What::Break(from, to) => {
                    let Some(link) = self.link(from, to) else { continue };
                    if link.up.take().is_some() {
                        self.tell(from, Event::Down(addresses[to].clone()));
                        self.plan(now + AGAIN_MAX / 10, What::Connect(from, to));
                    }
                }
            }
        }
    }

    fn connect(&mut self, now: Instant, from: Run, to: usize, address: &Address) {
        let run = self.running.get(&to).map(|running| running.run);
        let run = run.filter(|_| self.passes(from.0, to) && self.passes(to, from.0));
        let again = now + AGAIN_MAX / 10 + self.random.time(AGAIN_MAX);
        let Some(link) = self.link(from, to).filter(|link| link.up.is_none()) else { return };
        link.up = run;
        match run {
            Some(_) => self.tell(from, Event::Up(address.clone())),
            None => self.plan(again, What::Connect(from, to)),
        }
    }

    fn link(&mut self, (from, run): Run, to: usize) -> Option<&mut Link> {
        self.running.get_mut(&from).filter(|running| running.run == run)?.links.get_mut(&to)
    }

    fn tell(&mut self, (to, run): Run, event: Event) {
        if let Some(running) = self.running.get(&to).filter(|running| running.run == run) {
            // As with NNG, what does not fit is lost.
            let _ = running.events.try_send(event);
        }
    }

    fn send(&mut self, from: Run, to: usize, message: Message) {
        let lost = !self.passes(from.0, to) || {
            let loss = self.weather.loss;
            self.random.chance(loss)
        };
        let arrives = Instant::now() + self.delay();
        let Some(link) = self.link(from, to) else { return };
        let Some(run) = link.up.filter(|_| !lost) else { return };
        // A connection keeps the order.
        let at = arrives.max(link.last);
        link.last = at;
        self.plan(at, What::Arrive((to, run), Event::Message(message)));
    }
}

// === impl Ends ===

impl Sockets for Ends {
    fn dial(&self, to: &Address) -> Result<(), TransportError> {
        let Some(to) = self.network.index(to) else { return Ok(()) };
        let mut state = self.network.state.lock();
        let at = Instant::now() + state.delay();
        if let Some(running) = state.running.get_mut(&self.me.0) {
            running.links.entry(to).or_insert(Link { up: None, last: at });
        }
        state.plan(at, What::Connect(self.me, to));
        self.network.news.notify_one();
        Ok(())
    }

    fn hang_up(&self, to: &Address) {
        let Some(to) = self.network.index(to) else { return };
        if let Some(running) = self.network.state.lock().running.get_mut(&self.me.0) {
            running.links.remove(&to);
        }
    }

    fn send(&self, to: &Address, message: Message) {
        let Some(to) = self.network.index(to) else { return };
        self.network.state.lock().send(self.me, to, message);
        self.network.news.notify_one();
    }

    fn request(&self, to: &Address, tag: u64, message: &[u8]) {
        let answered = Arc::new(AtomicBool::new(false));
        let mut state = self.network.state.lock();
        state.plan(Instant::now() + ANSWER_TIME, What::TimeOut(self.me, tag, Arc::clone(&answered)));
        let Some(to) = self.network.index(to).filter(|to| state.passes(self.me.0, *to)) else { return };
        let Some(run) = state.running.get(&to).map(|running| running.run) else { return };
        let (network, me) = (Arc::clone(&self.network), self.me);
        let ticket = Ticket::of(move |answer| {
            let mut state = network.state.lock();
            if state.passes(to, me.0) && !answered.swap(true, Ordering::Relaxed) {
                let at = Instant::now() + state.delay();
                state.plan(at, What::Arrive(me, Event::Reply { tag, answer: Ok(answer.to_vec()) }));
                network.news.notify_one();
            }
        });
        let at = Instant::now() + state.delay();
        let message = message.to_vec();
        state.plan(at, What::Arrive((to, run), Event::Request { message, ticket }));
        self.network.news.notify_one();
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }
}

// === impl Step ===

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Step {}

impl PartialOrd for Step {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Step {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
