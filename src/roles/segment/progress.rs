//! How far the run is: a bar on a terminal, elsewhere a line now and then.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tokio::time::Instant;

/// Where standard error is no terminal, a line each so often.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the bar's figures are drawn anew.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// Counts what is done. A page of a stack counts as an image.
#[derive(Debug)]
pub(super) struct Progress {
    total: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    objects: AtomicU64,
    started: Instant,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Silent,
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// Of this many images, of which none is done.
    pub(super) fn begin(images: usize, quiet: bool) -> Self {
        let form = match quiet {
            true => Form::Silent,
            false if std::io::stderr().is_terminal() => Form::Bar(bar()),
            false => Form::Lines,
        };
        Self {
            total: AtomicU64::new(images as u64),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            started: Instant::now(),
            form,
        }
    }

    /// A file turned out to have this many pages to do, instead of one.
    pub(super) fn expect(&self, pages: usize) {
        let more = pages.saturating_sub(1) as u64;
        self.total.fetch_add(more, Ordering::Relaxed);
    }

    /// An image is done.
    pub(super) fn done(&self, objects: u64) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(objects, Ordering::Relaxed);
    }

    /// An image could not be done; said at once, whatever else is silent.
    pub(super) fn failed(&self, image: &str, why: &str) {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(1, Ordering::Relaxed);
        let line = format!("spheroctl: {image}: {why}");
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| eprintln!("{line}")),
            Form::Lines | Form::Silent => eprintln!("{line}"),
        }
    }

    /// Tells how far it is, again and again; never ends.
    pub(super) async fn tell(&self) -> Infallible {
        let interval = match self.form {
            Form::Bar(_) => DRAW_INTERVAL,
            Form::Lines | Form::Silent => LINE_INTERVAL,
        };
        loop {
            tokio::time::sleep(interval).await;
            match &self.form {
                Form::Silent => {}
                Form::Lines => eprintln!("{}", self.line()),
                Form::Bar(bar) => {
                    bar.set_length(self.total.load(Ordering::Relaxed));
                    bar.set_position(self.done.load(Ordering::Relaxed));
                    bar.set_message(self.line());
                }
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn line(&self) -> String {
        let figures = Figures {
            total: self.total.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            objects: self.objects.load(Ordering::Relaxed),
        };
        figures.line(self.started.elapsed())
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {msg}");
    // The length is set with the first figures.
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

struct Figures {
    total: u64,
    done: u64,
    failed: u64,
    objects: u64,
}

impl Figures {
    fn line(&self, elapsed: Duration) -> String {
        let Self {
            total,
            done,
            failed,
            objects,
        } = self;
        let mut line = format!("{done} of {total} images");
        if *done > 0 && !elapsed.is_zero() {
            let rate = *done as f64 / elapsed.as_secs_f64();
            let left = Duration::from_secs_f64((total - done) as f64 / rate);
            line += &format!(", {rate:.1} images/s, about {} left", HumanDuration(left));
        }
        line += &format!(", {objects} objects");
        if *failed > 0 {
            line += &format!(", {failed} failed");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rate_and_time_left() {
        let figures = Figures {
            total: 96,
            done: 24,
            failed: 1,
            objects: 70,
        };
        assert_eq!(
            figures.line(Duration::from_secs(8)),
            "24 of 96 images, 3.0 images/s, about 24 seconds left, 70 objects, 1 failed"
        );
        let nothing = Figures {
            done: 0,
            failed: 0,
            objects: 0,
            ..figures
        };
        assert_eq!(nothing.line(Duration::ZERO), "0 of 96 images, 0 objects");
    }
}
