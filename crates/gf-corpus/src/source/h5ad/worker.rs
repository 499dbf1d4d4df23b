//! A thread that reads stretches of one vector, in the order they are asked for.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

/// A stretch by its start and length, and where it is to be sent.
type Request<T> = (usize, usize, Sender<thread::Result<T>>);

/// The thread; it ends when this is dropped.
///
/// Not rayon's: a thread of its pool that waits here would wait for itself where the pool has no
/// other. Not a thread a stretch: each would take fresh memory.
pub(super) struct Worker<T>(Sender<Request<T>>);

/// A stretch that is being read.
pub(super) struct Answer<T>(Receiver<thread::Result<T>>);

impl<T: Send + 'static> Worker<T> {
    pub(super) fn new(read: impl Fn(usize, usize) -> T + Send + 'static) -> io::Result<Self> {
        let (sender, requests) = channel::<Request<T>>();
        thread::Builder::new().spawn(move || {
            for (from, n, answer) in requests {
                // Nobody may wait any more, and a panic is for who does.
                let _ = answer.send(catch_unwind(AssertUnwindSafe(|| read(from, n))));
            }
        })?;
        Ok(Self(sender))
    }

    /// Asks for `n` values from one on.
    pub(super) fn ask(&self, from: usize, n: usize) -> Answer<T> {
        let (sender, answer) = channel();
        // The thread lives as long as its requests may come.
        let _ = self.0.send((from, n, sender));
        Answer(answer)
    }
}

impl<T> Answer<T> {
    /// What was read, when it is.
    ///
    /// # Panics
    /// If the reading did.
    pub(super) fn wait(self) -> T {
        match self.0.recv() {
            Ok(read) => read.unwrap_or_else(|panic| resume_unwind(panic)),
            Err(gone) => resume_unwind(Box::new(gone.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn answers_belong_to_their_requests() {
        let worker = Worker::new(|from, n| from + n).unwrap();
        let answers: Vec<Answer<usize>> = (0..9).map(|n| worker.ask(10 * n, n)).collect();
        drop(worker.ask(0, 0));
        let sums: Vec<usize> = answers.into_iter().map(Answer::wait).collect();
        assert_eq!(sums, [0, 11, 22, 33, 44, 55, 66, 77, 88]);
    }

    #[test]
    fn a_panic_reaches_who_waits() {
        let worker = Worker::new(|from, n| from.checked_sub(n).expect("no less")).unwrap();
        let (bad, good) = (worker.ask(0, 1), worker.ask(1, 1));
        assert!(catch_unwind(AssertUnwindSafe(|| bad.wait())).is_err());
        assert_eq!(good.wait(), 0);
    }
}
