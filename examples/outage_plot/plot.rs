//! The picture: one panel for each client over the same time.

use std::fmt::Write;
use std::time::Duration;

use crate::course::{Course, Outage, PAUSE};
use crate::svg::{self, BAD, GOOD, INK, MUTED, OURS, OUTAGE, SANS, WIDTH, bold, class, text};
use crate::tally::Tally;

const MARGIN: f64 = 20.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = WIDTH - 30.0;
/// Where the first panel begins, below the title and the names of the outages.
const TOP: f64 = 124.0;
const HEADING: f64 = 34.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 20.0;
const LINE: f64 = 23.0;
/// What is higher is cut off, and says how high it is.
const HIGHEST: f64 = 500.0;
const MIDDLE: &str = " text-anchor=\"middle\"";
const END: &str = " text-anchor=\"end\"";

pub(crate) fn draw(course: &Course, outages: &[Outage], tallies: &[Tally; 2]) -> String {
    let plot = Plot { length: course.length.as_secs_f64(), bin: course.bin };
    let mut body = String::new();
    title(&mut body, course);
    for outage in outages {
        text(&mut body, plot.middle(outage), TOP - 14.0, &(bold(INK, 17) + MIDDLE), outage.name);
    }
    let mut bottom = TOP;
    let names = [("with longlink", OURS), ("with a TcpStream that reconnects", MUTED)];
    for (tally, (name, class)) in tallies.iter().zip(names) {
        let top = bottom + HEADING;
        plot.heading(&mut body, top - 12.0, tally, (name, class));
        for (outage, lost) in outages.iter().zip(tally.lost_in(outages)) {
            plot.outage(&mut body, top, outage, lost);
        }
        plot.panel(&mut body, top, tally, class);
        bottom = top + PANEL + GAP;
    }
    plot.seconds(&mut body, bottom - GAP);
    let mut y = bottom + LINE + 12.0;
    for note in [
        "Red: messages that never came back. Peaks: what waited comes back all at once.",
        "Both clients reconnect. A TcpStream has no heartbeat, and no memory of what it wrote.",
        "A killed server has forgotten what it did: longlink may double then, and says so.",
    ] {
        text(&mut body, MARGIN, y, &class(MUTED), note);
        y += LINE;
    }
    let attributes = format!("font-family=\"{SANS}\" font-size=\"17\"");
    svg::document((WIDTH, y - LINE + MARGIN), &attributes, &body)
}

fn title(body: &mut String, course: &Course) {
    let (messages, rate) = (grouped(course.messages()), 1.0 / PAUSE.as_secs_f64());
    text(body, MARGIN, 42.0, &bold(INK, 27), "What three outages cost");
    let what = format!(
        "{messages} messages to a server and back, {rate} a second, by each of two clients"
    );
    text(body, MARGIN, 70.0, &class(MUTED), &what);
}

struct Plot {
    /// In seconds.
    length: f64,
    bin: Duration,
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.length
    }

    fn middle(&self, outage: &Outage) -> f64 {
        self.x((outage.begin + outage.end).as_secs_f64() / 2.0)
    }

    fn heading(&self, body: &mut String, y: f64, tally: &Tally, (name, class): (&str, &str)) {
        text(body, LEFT, y, &bold(class, 20), name);
        let (lost, doubled) = (tally.lost(), tally.doubled.len());
        let account = format!("{} lost", grouped(lost));
        text(body, RIGHT - 134.0, y, &(bold(verdict(lost), 24) + END), &account);
        let account = format!("{} doubled", grouped(doubled));
        text(body, RIGHT, y, &(bold(MUTED, 20) + END), &account);
    }

    fn outage(&self, body: &mut String, top: f64, outage: &Outage, lost: usize) {
        let (begin, end) = (self.x(outage.begin.as_secs_f64()), self.x(outage.end.as_secs_f64()));
        let width = end - begin;
        let _ = writeln!(
            body,
            "<rect class=\"{OUTAGE}\" x=\"{begin:.1}\" y=\"{top}\" width=\"{width:.1}\" \
             height=\"{PANEL}\"/>"
        );
        let attributes = bold(verdict(lost), 20) + MIDDLE;
        let account = format!("{} lost", grouped(lost));
        text(body, self.middle(outage), top + 48.0, &attributes, &account);
    }

    fn panel(&self, body: &mut String, top: f64, tally: &Tally, class: &str) {
        let bottom = top + PANEL;
        for (rate, label) in [(0.0, "0"), (200.0, "200/s")] {
            let y = height(bottom, rate);
            let _ = writeln!(
                body,
                "<path class=\"{MUTED}\" d=\"M{LEFT} {y:.1}H{RIGHT}\" fill=\"none\" \
                 stroke=\"currentColor\" stroke-width=\"0.5\"/>"
            );
            let attributes = format!(" class=\"{MUTED}\"{END}");
            text(body, LEFT - 8.0, y + 5.0, &attributes, label);
        }
        let seconds = self.bin.as_secs_f64();
        let back = self.rates(tally.back.iter().flatten().copied());
        let _ = writeln!(
            body,
            "<path class=\"{class}\" d=\"{}\" fill-opacity=\"0.35\" stroke=\"currentColor\"/>",
            self.steps(&back, bottom)
        );
        let missing = self.steps(&self.rates(tally.missing()), bottom);
        let _ = writeln!(body, "<path class=\"{BAD}\" d=\"{missing}\"/>");
        for (number, rate) in back.iter().enumerate().filter(|(_, rate)| **rate > HIGHEST) {
            let x = self.x((number + 1) as f64 * seconds) + 5.0;
            let attributes = format!(" class=\"{MUTED}\" font-size=\"15\"");
            text(body, x, top + 14.0, &attributes, &format!("↑ {}/s", grouped(*rate as usize)));
        }
    }

    /// Of each interval.
    fn rates(&self, times: impl Iterator<Item = Duration>) -> Vec<f64> {
        let seconds = self.bin.as_secs_f64();
        let mut rates = vec![0.0; (self.length / seconds).ceil() as usize];
        for time in times {
            if let Some(rate) = rates.get_mut((time.as_secs_f64() / seconds) as usize) {
                *rate += 1.0 / seconds;
            }
        }
        rates
    }

    fn steps(&self, rates: &[f64], bottom: f64) -> String {
        let mut steps = format!("M{LEFT} {bottom}");
        for (number, rate) in rates.iter().enumerate() {
            let end = self.x((number + 1) as f64 * self.bin.as_secs_f64());
            let _ = write!(steps, "V{:.1}H{end:.1}", height(bottom, *rate));
        }
        steps + &format!("V{bottom}Z")
    }

    fn seconds(&self, body: &mut String, bottom: f64) {
        let step = if self.length > 20.0 { 10 } else { 2 };
        for second in (0..=self.length as u32).step_by(step) {
            let attributes = format!(" class=\"{MUTED}\"{MIDDLE}");
            text(body, self.x(second.into()), bottom + 20.0, &attributes, &format!("{second} s"));
        }
    }
}

fn height(bottom: f64, rate: f64) -> f64 {
    bottom - PANEL * rate.min(HIGHEST) / HIGHEST
}

fn verdict(lost: usize) -> &'static str {
    if lost > 0 { BAD } else { GOOD }
}

/// With a comma before the last three digits.
fn grouped(number: usize) -> String {
    match number / 1000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1000),
    }
}
