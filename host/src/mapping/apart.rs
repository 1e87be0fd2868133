//! Threads for components that broke lately: behind everything else that wants a core.
//!
//! A component that runs until its deadline takes a core for a tenth of a second, again at each retry. On threads like
//! the others, everything else on a small machine waits for its turn beside it, a few milliseconds each time. Components
//! that behave stay off these threads: on a machine that is full they might not get through within their deadline.
//! The threads are made at first use and end with the runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};
use tokio::sync::oneshot;

/// As many components as may run here at once; others wait.
const THREADS: usize = 2;
/// A niceness of 9, of -20 (first) to 19 (last).
const PRIORITY: u8 = 25;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct Apart(Mutex<Option<Sender<Job>>>);

impl Apart {
    /// Runs `job` when its turn has come; none where it panicked or no thread could be made.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, result) = oneshot::channel();
        let job = Box::new(move || {
            // Whoever waits sees the reply dropped; the thread goes on.
            if let Ok(result) = catch_unwind(AssertUnwindSafe(job)) {
                let _ = reply.send(result);
            }
        });
        self.jobs().ok()?.send(job).ok()?;
        result.await.ok()
    }

    fn jobs(&self) -> std::io::Result<Sender<Job>> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(jobs) = jobs.as_ref() {
            return Ok(jobs.clone());
        }
        let (sender, receiver) = mpsc::channel();
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..THREADS {
            let receiver = receiver.clone();
            std::thread::Builder::new()
                .name("apart".into())
                .spawn(move || work(&receiver))?;
        }
        Ok(jobs.insert(sender).clone())
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    let priority = ThreadPriorityValue::try_from(PRIORITY).map(ThreadPriority::Crossplatform);
    // Where the system refuses, the component runs as one among others.
    let _ = priority.map(set_current_thread_priority);
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_takes_no_thread_along() {
        let apart = Apart::default();
        for _ in 0..2 * THREADS {
            let lost: Option<()> = apart.run(|| panic!("on purpose")).await;
            assert_eq!(lost, None);
        }
        let name = apart
            .run(|| std::thread::current().name().map(str::to_owned))
            .await;
        assert_eq!(name.flatten().as_deref(), Some("apart"));
    }
}
