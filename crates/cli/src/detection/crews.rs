//! All workers of a process, by consumer group: they follow the settings while they run.

use super::post::{Ground, Kit, Post, WorkState, WorkerStatus};
use super::topics::FrameTopics;
use super::{DetectOptions, Sums};
use lumenbus_bus::{BusConfig, FrameTracer};
use lumenbus_pipeline::Shutdown;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The workers of a process.
pub(crate) struct Crews {
    shared: Arc<Shared>,
    watch: Option<JoinHandle<()>>,
}

struct Shared {
    ground: Arc<Ground>,
    crews: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    /// By group.
    crews: BTreeMap<String, Crew>,
    /// Told to end, and may be committing yet.
    leaving: Vec<(String, Post)>,
    /// What those did that have ended.
    past: BTreeMap<String, Sums>,
}

struct Crew {
    kit: Arc<Kit>,
    posts: Vec<Post>,
}

/// The workers of one group.
#[derive(Debug, Clone)]
pub(crate) struct CrewStatus {
    pub(crate) group: String,
    pub(crate) detector: String,
    pub(crate) workers: Vec<WorkerStatus>,
    /// With those of before.
    pub(crate) sums: Sums,
}

impl CrewStatus {
    /// How many work.
    pub(crate) fn working(&self) -> usize {
        self.workers.iter().filter(|worker| worker.state == WorkState::Working).count()
    }

    /// The first trouble of one of them.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.workers.iter().find_map(|worker| match &worker.state {
            WorkState::Failed { reason } => Some(&**reason),
            _ => None,
        })
    }

    /// Why not all of them work: the first trouble, else what one waits for.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.trouble().or_else(|| self.workers.iter().find_map(|worker| worker.state.reason()))
    }
}

/// What [`Crews::apply`] did, by group.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct CrewChanges {
    pub(crate) added: Vec<String>,
    pub(crate) changed: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) unchanged: Vec<String>,
    /// With why not.
    pub(crate) refused: Vec<(String, String)>,
}

impl CrewChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty() && self.refused.is_empty()
    }
}

impl Crews {
    /// Nobody yet; [`apply`](Self::apply) brings them. `tracer` follows frames through the workers.
    pub(crate) fn new(bus: BusConfig, tracer: Option<Arc<dyn FrameTracer>>) -> Self {
        let (topics, stop) = (FrameTopics::new(), Shutdown::default());
        let ground = Arc::new(Ground { bus, tracer, topics, stop });
        let shared = Arc::new(Shared { ground, crews: Mutex::default() });
        Self { shared, watch: None }
    }

    /// Makes them as the settings say, each group once. Of a group of which only the number of workers differs, the others
    /// go on; one that ends commits first, beside whoever takes its share.
    pub(crate) fn apply(&mut self, wanted: &[DetectOptions]) -> CrewChanges {
        self.watch_topics(wanted);
        self.shared.lock().apply(&self.shared.ground, wanted)
    }

    /// Only where somebody needs to know them.
    fn watch_topics(&mut self, wanted: &[DetectOptions]) {
        if self.watch.is_some() || wanted.iter().all(|options| !options.topic.is_empty()) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let look = move || {
            let Ground { bus, topics, stop, .. } = &*shared.ground;
            topics.watch(bus, stop, || shared.lock().renew());
        };
        match std::thread::Builder::new().name("detect-topics".to_owned()).spawn(look) {
            Ok(thread) => self.watch = Some(thread),
            Err(error) => tracing::error!(%error, "nobody looks for topics; name them in [[detect]]"),
        }
    }

    pub(crate) fn status(&self) -> Vec<CrewStatus> {
        let mut books = self.shared.lock();
        books.reap();
        books.status()
    }

    /// Ends all of them, with what they have committed; how it was in the end.
    pub(crate) fn stop(mut self) -> Vec<CrewStatus> {
        self.end();
        self.shared.lock().status()
    }

    fn end(&mut self) {
        self.shared.ground.stop.request();
        if self.watch.take().is_some_and(|watch| watch.join().is_err()) {
            tracing::error!("the look-out for topics panicked");
        }
        let posts = self.shared.lock().dismiss();
        // Not under the lock, in which nobody waits.
        let ended: Vec<_> = posts.into_iter().map(|(group, post)| (group, post.join())).collect();
        let mut books = self.shared.lock();
        ended.into_iter().for_each(|(group, sums)| books.add(group, sums));
    }
}

impl Drop for Crews {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.crews.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn apply(&mut self, ground: &Arc<Ground>, wanted: &[DetectOptions]) -> CrewChanges {
        let mut changes = CrewChanges::default();
        let groups: Vec<String> = wanted.iter().map(DetectOptions::group).collect();
        let gone: Vec<String> = self.crews.keys().filter(|group| !groups.contains(group)).cloned().collect();
        for group in gone {
            self.dissolve(&group);
            changes.removed.push(group);
        }
        for (options, group) in wanted.iter().zip(groups) {
            match self.follow(ground, &group, options) {
                Ok(Followed::Not) => changes.unchanged.push(group),
                Ok(Followed::Added) => changes.added.push(group),
                Ok(Followed::Changed) => changes.changed.push(group),
                Err(error) => changes.refused.push((group, format!("a thread cannot be started: {error}"))),
            }
        }
        changes
    }

    fn follow(&mut self, ground: &Arc<Ground>, group: &str, options: &DetectOptions) -> std::io::Result<Followed> {
        let wanted = usize::from(options.workers);
        let is_same = |kit: &Kit| DetectOptions { workers: options.workers, ..kit.options.clone() } == *options;
        let known = self.crews.get(group).map(|crew| (is_same(&crew.kit), crew.posts.len()));
        let followed = match known {
            Some((true, posts)) if posts == wanted => return Ok(Followed::Not),
            Some((true, _)) => Followed::Changed,
            Some((false, _)) => {
                self.dissolve(group);
                Followed::Changed
            }
            None => Followed::Added,
        };
        let new = || Crew { kit: Arc::new(Kit::new(options.clone())), posts: Vec::new() };
        let crew = self.crews.entry(group.to_owned()).or_insert_with(new);
        while crew.posts.len() < wanted {
            crew.posts.push(Post::start(ground, &crew.kit)?);
        }
        let leaving = crew.posts.split_off(wanted);
        leaving.iter().for_each(Post::stop);
        self.leaving.extend(leaving.into_iter().map(|post| (group.to_owned(), post)));
        Ok(followed)
    }

    fn dissolve(&mut self, group: &str) {
        let Some(crew) = self.crews.remove(group) else { return };
        crew.posts.iter().for_each(Post::stop);
        self.leaving.extend(crew.posts.into_iter().map(|post| (group.to_owned(), post)));
    }

    /// Topics have come: who reads all of them begins again.
    fn renew(&self) {
        let readers = self.crews.values().filter(|crew| crew.kit.options.topic.is_empty());
        readers.flat_map(|crew| &crew.posts).for_each(Post::renew);
    }

    /// All of them, told to end. The groups stay, for their figures.
    fn dismiss(&mut self) -> Vec<(String, Post)> {
        let crews = self.crews.iter_mut();
        let posts = crews.flat_map(|(group, crew)| crew.posts.drain(..).map(|post| (group.clone(), post)));
        let posts: Vec<_> = posts.chain(self.leaving.drain(..)).collect();
        posts.iter().for_each(|(_, post)| post.stop());
        posts
    }

    fn reap(&mut self) {
        let (ended, leaving) = std::mem::take(&mut self.leaving).into_iter().partition(|(_, post)| post.has_ended());
        self.leaving = leaving;
        for (group, post) in ended {
            let sums = post.join();
            self.add(group, sums);
        }
    }

    fn add(&mut self, group: String, sums: Sums) {
        let past = self.past.entry(group).or_default();
        *past = past.and(sums);
    }

    fn status(&self) -> Vec<CrewStatus> {
        let status = |(group, crew): (&String, &Crew)| {
            let workers: Vec<_> = crew.posts.iter().map(Post::status).collect();
            let leaving = self.leaving.iter().filter(|(of, _)| of == group).map(|(_, post)| post.status().sums);
            let before = leaving.chain(self.past.get(group).copied());
            let sums = workers.iter().map(|worker| worker.sums).chain(before).fold(Sums::default(), Sums::and);
            CrewStatus { group: group.clone(), detector: crew.kit.options.detector.to_string(), workers, sums }
        };
        self.crews.iter().map(status).collect()
    }
}

/// What became of a group.
enum Followed {
    Not,
    Added,
    Changed,
}
