//! Worker threads for short parallel regions.
//!
//! A decode step runs a few hundred regions of tens of microseconds, so a region must start and end in
//! well under one. Workers spin on one atomic word for a while and park only then. The caller works
//! too, and never waits for a worker that has not started: when no task is left it closes the region,
//! and a worker that comes late finds it closed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How long a worker spins before it parks: longer than what lies between two regions of a decode
/// step (sampling over 152k logits takes 0.1 ms), short enough to leave an idle machine alone.
const SPIN: Duration = Duration::from_micros(300);

/// `state`: workers inside the region, whether it is closed, and the region's number.
const INSIDE: u64 = 0xffff;
const CLOSED: u64 = 1 << 16;
const REGION: u64 = 1 << 17;

type Task<'a> = &'a (dyn Fn(usize) + Sync);

/// Holds back the tasks of a pool while others need the machine.
#[derive(Default)]
pub struct Brake {
    is_on: AtomicBool,
    is_waiting: Mutex<()>,
    released: Condvar,
}

impl Brake {
    /// Lets no task start until [`Self::release`]. Those that run go on: they are short.
    pub fn pull(&self) {
        self.is_on.store(true, Relaxed);
    }

    /// Lets tasks start again.
    pub fn release(&self) {
        let guard = self.is_waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_on.store(false, Relaxed);
        drop(guard);
        self.released.notify_all();
    }

    /// Returns once it is released.
    pub fn wait(&self) {
        if !self.is_on.load(Relaxed) {
            return;
        }
        let mut guard = self.is_waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while self.is_on.load(Relaxed) {
            guard = self.released.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A fixed set of threads, the caller among them, that share the tasks of one region at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<(JoinHandle<()>, Arc<AtomicBool>)>,
    region: Mutex<()>,
}

struct Shared {
    state: AtomicU64,
    /// The region's task, a `*const Task` on the caller's stack.
    task: AtomicPtr<()>,
    n_tasks: AtomicUsize,
    next: AtomicUsize,
    panicked: AtomicBool,
    shutdown: AtomicBool,
    brake: Option<Arc<Brake>>,
}

impl Pool {
    /// A pool of `n_threads` threads, the caller included; 0 counts as 1.
    pub fn new(n_threads: usize) -> Self {
        Self::build(n_threads, None)
    }

    /// The same, each of whose tasks waits for `brake`.
    pub fn with_brake(n_threads: usize, brake: Arc<Brake>) -> Self {
        Self::build(n_threads, Some(brake))
    }

    fn build(n_threads: usize, brake: Option<Arc<Brake>>) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(CLOSED),
            task: AtomicPtr::new(std::ptr::null_mut()),
            n_tasks: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            shutdown: AtomicBool::new(false),
            brake,
        });
        let workers = (1..n_threads.min(INSIDE as usize))
            .map(|i| {
                let (shared, parked) = (shared.clone(), Arc::new(AtomicBool::new(false)));
                let flag = parked.clone();
                let body = move || shared.work(&flag);
                let handle = thread::Builder::new().name(format!("kernel-{i}")).spawn(body);
                (handle.expect("the system can start a thread"), parked)
            })
            .collect();
        Self { shared, workers, region: Mutex::new(()) }
    }

    /// Threads that work on a region, the caller included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Waits while the brake is on, if there is one: for tasks that are long and have places to stop at.
    pub fn wait_for_brake(&self) {
        self.shared.wait_for_brake();
    }

    /// Runs `task(0)` … `task(n_tasks − 1)`, each once, in any order, on any thread, and returns when
    /// all are done.
    ///
    /// # Panics
    /// If a task panics.
    pub fn run(&self, n_tasks: usize, task: impl Fn(usize) + Sync) {
        if n_tasks <= 1 || self.workers.is_empty() {
            for i in 0..n_tasks {
                self.shared.wait_for_brake();
                task(i);
            }
            return;
        }
        let guard = self.region.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let shared = &*self.shared;
        let task: Task = &task;
        shared.task.store((&raw const task).cast_mut().cast(), Relaxed);
        shared.n_tasks.store(n_tasks, Relaxed);
        shared.next.store(0, Relaxed);
        let region = (shared.state.load(Relaxed) & !(CLOSED | INSIDE)).wrapping_add(REGION);
        shared.state.store(region, SeqCst);
        for (handle, parked) in &self.workers {
            if parked.load(SeqCst) {
                handle.thread().unpark();
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| shared.run_tasks(task)));
        // From here on no worker enters; `task` must outlive those inside.
        shared.state.fetch_or(CLOSED, AcqRel);
        while shared.state.load(Acquire) & INSIDE != 0 {
            std::hint::spin_loop();
        }
        let worker_panicked = shared.panicked.swap(false, Relaxed);
        drop(guard);
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
        assert!(!worker_panicked, "a task of the worker pool panicked");
    }
}

impl Shared {
    fn wait_for_brake(&self) {
        if let Some(brake) = &self.brake {
            brake.wait();
        }
    }

    fn run_tasks(&self, task: Task) {
        let n_tasks = self.n_tasks.load(Relaxed);
        loop {
            let i = self.next.fetch_add(1, Relaxed);
            if i >= n_tasks {
                return;
            }
            self.wait_for_brake();
            task(i);
        }
    }

    /// A worker's life.
    fn work(&self, parked: &AtomicBool) {
        let mut last = CLOSED;
        while !self.shutdown.load(Relaxed) {
            let state = self.state.load(Acquire);
            if state & CLOSED != 0 || state >> 17 == last >> 17 {
                self.wait(parked, last);
                continue;
            }
            if self.state.compare_exchange(state, state + 1, AcqRel, Relaxed).is_err() {
                continue;
            }
            last = state;
            // SAFETY: we counted ourselves in while the region was open, so the caller of `run` stays in
            // there, with its task alive, until we count ourselves out.
            let task: Task = unsafe { *self.task.load(Relaxed).cast_const().cast::<Task>() };
            if catch_unwind(AssertUnwindSafe(|| self.run_tasks(task))).is_err() {
                self.panicked.store(true, Relaxed);
            }
            self.state.fetch_sub(1, AcqRel);
        }
    }

    /// Until a region after `last` opens or the pool shuts down: spins, then parks.
    fn wait(&self, parked: &AtomicBool, last: u64) {
        let is_over = |order| {
            let state = self.state.load(order);
            (state & CLOSED == 0 && state >> 17 != last >> 17) || self.shutdown.load(Relaxed)
        };
        let start = Instant::now();
        while start.elapsed() < SPIN {
            for _ in 0..64 {
                if is_over(Relaxed) {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        parked.store(true, SeqCst);
        while !is_over(SeqCst) {
            thread::park();
        }
        parked.store(false, SeqCst);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, SeqCst);
        for (handle, _) in self.workers.drain(..) {
            let thread: &Thread = handle.thread();
            thread.unpark();
            // A worker catches its tasks' panics, so it ends normally.
            let _ = handle.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_each_task_once() {
        for n_threads in 1..=4 {
            let pool = Pool::new(n_threads);
            for n_tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..50 {
                    pool.run(n_tasks, |i| {
                        counts[i].fetch_add(1, Relaxed);
                    });
                }
                assert!(counts.iter().all(|c| c.load(Relaxed) == 50));
            }
        }
    }

    #[test]
    fn wakes_parked_workers() {
        let pool = Pool::new(3);
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(2));
            let sum = AtomicUsize::new(0);
            pool.run(10, |i| {
                sum.fetch_add(i, Relaxed);
            });
            assert_eq!(sum.load(Relaxed), 45);
        }
    }

    #[test]
    fn a_brake_holds_tasks_back() {
        for n_threads in [1, 3] {
            let brake = Arc::new(Brake::default());
            let pool = Pool::with_brake(n_threads, brake.clone());
            let n_done = AtomicUsize::new(0);
            brake.pull();
            thread::scope(|scope| {
                let region = scope.spawn(|| {
                    pool.run(50, |_| {
                        n_done.fetch_add(1, Relaxed);
                    });
                });
                thread::sleep(Duration::from_millis(20));
                assert_eq!(n_done.load(Relaxed), 0);
                brake.release();
                region.join().unwrap();
            });
            assert_eq!(n_done.load(Relaxed), 50);
        }
    }

    #[test]
    fn survives_a_panicking_task() {
        let pool = Pool::new(2);
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.run(8, |i| assert_ne!(i, 5))));
        assert!(outcome.is_err());
        pool.run(8, |_| ());
    }
}
