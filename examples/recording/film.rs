//! What was to be seen, and when.

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::screen::{Look, Row, Run};

/// Changes that follow each other more closely are seen as one.
const BLINK: Duration = Duration::from_millis(25);
/// Waits are not shown longer than that.
const LONGEST_WAIT: Duration = Duration::from_millis(1500);
/// The end is shown for so long, before it all begins again.
const END: Duration = Duration::from_secs(5);

/// What all windows are filmed with.
#[derive(Clone)]
pub(crate) struct Camera {
    film: Arc<Mutex<Film>>,
    start: Instant,
}

impl Camera {
    pub(crate) fn new() -> Camera {
        Camera { film: Arc::default(), start: now() }
    }

    pub(crate) fn caption(&self, look: Look, text: &str) {
        self.show([(Place::Caption, vec![Run { column: 0, text: text.into(), look }])]);
    }

    /// Shows the frame of a window in a colour.
    pub(crate) fn frame(&self, window: usize, look: Look) {
        self.show([(Place::Frame(window), vec![Run { column: 0, text: String::new(), look }])]);
    }

    /// The film begins with what is shown now.
    pub(crate) fn begin(&self) {
        let mut film = lock(&self.film);
        let shown = film.changes.drain(..).flat_map(|(_, shown)| shown).collect();
        film.changes.push((self.start.elapsed(), shown));
    }

    pub(crate) fn show(&self, rows: impl IntoIterator<Item = (Place, Row)>) {
        let mut film = lock(&self.film);
        film.show(self.start.elapsed(), rows);
    }

    pub(crate) fn stop(self) -> Film {
        mem::take(&mut lock(&self.film))
    }
}

/// A place that shows one row at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Caption,
    Frame(usize),
    Row { window: usize, row: usize },
}

/// What a place shows; captions and frames have one run.
type Shown = BTreeMap<Place, Row>;

#[derive(Default)]
pub(crate) struct Film {
    changes: Vec<(Duration, Shown)>,
}

/// What was to be seen at a place: each row of it, with the times from and until.
pub(crate) type Scenes = BTreeMap<(Place, Row), Vec<(Duration, Duration)>>;

impl Film {
    /// Times never go back.
    fn show(&mut self, at: Duration, rows: impl IntoIterator<Item = (Place, Row)>) {
        let rows = rows.into_iter();
        match self.changes.last_mut() {
            Some((last, shown)) if at < *last + BLINK => shown.extend(rows),
            _ => self.changes.push((at, rows.collect())),
        }
    }

    /// With the waits cut short; and how long that takes.
    pub(crate) fn scenes(&self) -> (Scenes, Duration) {
        let mut scenes = Scenes::new();
        let mut now: BTreeMap<Place, (Row, Duration)> = BTreeMap::new();
        let (mut time, mut last) = (Duration::ZERO, None);
        let mut end = |place: Place, (row, since): (Row, Duration), time: Duration| {
            if !row.is_empty() && time > since {
                scenes.entry((place, row)).or_default().push((since, time));
            }
        };
        for (at, shown) in &self.changes {
            let wait = last.map_or(Duration::ZERO, |last| *at - last);
            time += wait.min(LONGEST_WAIT);
            last = Some(*at);
            for (place, row) in shown {
                let current = now.entry(*place).or_default();
                if current.0 != *row {
                    end(*place, mem::replace(current, (row.clone(), time)), time);
                }
            }
        }
        time += END;
        now.into_iter().for_each(|(place, scene)| end(place, scene, time));
        (scenes, time)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "a film has its times")]
fn now() -> Instant {
    Instant::now()
}
