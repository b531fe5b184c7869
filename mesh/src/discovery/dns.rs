//! Instances by a name in the DNS.
//!
//! Headless Services, Docker Compose and most service registries give each instance an address record. SRV records
//! have ports as well.

mod question;

use std::{sync::Arc, time::Duration};

use self::question::Question;
use super::{
    DiscoveryError, Dns,
    lists::{Lists, Source, Trouble},
};

/// Until there is a first answer it is asked again after this time, and ever later up to the interval.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Watch {
    question: Question,
    interval: Duration,
}

// === impl Watch ===

impl Watch {
    pub(super) fn new(settings: Dns) -> Result<Self, DiscoveryError> {
        let interval = settings.interval;
        Ok(Self { question: Question::new(settings)?, interval })
    }

    /// Never ends by itself.
    pub(super) async fn run(mut self, lists: Arc<Lists>) {
        let (mut retry, mut trouble) = (Some(FIRST_RETRY), Trouble::default());
        loop {
            match self.question.ask().await {
                Ok(found) => {
                    retry = None;
                    let mut addresses = found.addresses;
                    lists.refuse(found.refused);
                    if let Some(error) = found.incomplete {
                        // What could not be asked is still where it was, as far as is known.
                        lists.failed();
                        trouble.warn(&error);
                        addresses.extend(lists.of(Source::Dns));
                    } else {
                        trouble.is_over("DNS");
                    }
                    lists.set(Source::Dns, addresses);
                }
                Err(error) => {
                    lists.failed();
                    trouble.warn(&error);
                }
            }
            tokio::time::sleep(jittered(retry.unwrap_or(self.interval).min(self.interval))).await;
            retry = retry.map(|retry| retry * 2);
        }
    }
}

/// Up to a tenth more.
fn jittered(time: Duration) -> Duration {
    let random = getrandom::u32().expect("the operating system has a source of randomness");
    time + time.mul_f64(f64::from(random) / f64::from(u32::MAX) / 10.0)
}
