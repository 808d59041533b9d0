//! The picture: one panel for each client over the same time.

use std::fmt::Write;
use std::time::Duration;

use crate::course::{Course, MISSES, Outage, PAUSE};
use crate::svg::{self, TEXT, text};
use crate::tally::Tally;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 44.0;
const RIGHT: f64 = WIDTH - 8.0;
const PANEL: f64 = 130.0;
const TITLE: f64 = 22.0;
const GAP: f64 = 20.0;
/// Where the first panel begins, below the names of the outages.
const TOP: f64 = 24.0;
const LINE: f64 = 16.0;
/// What is higher is cut off, and says how high it is.
const HIGHEST: f64 = 600.0;
const OURS: &str = "#2f81f7";
const OTHERS: &str = "#8b949e";
const BAD: &str = "#da3633";
const MIDDLE: &str = " text-anchor=\"middle\"";

pub(crate) fn draw(course: &Course, outages: &[Outage], tallies: &[Tally; 2]) -> String {
    let plot = Plot { length: course.length.as_secs_f64() };
    let mut body = String::new();
    let panels = [(&tallies[0], OURS), (&tallies[1], OTHERS)];
    let top = |panel: usize| TOP + TITLE + panel as f64 * (TITLE + PANEL + GAP);
    let bottom = top(1) + PANEL;
    for outage in outages {
        text(&mut body, plot.middle(outage), TOP - 8.0, MIDDLE, outage.name);
    }
    for (number, (tally, colour)) in panels.into_iter().enumerate() {
        for (outage, lost) in outages.iter().zip(tally.lost_in(outages)) {
            plot.shade(&mut body, top(number), outage, lost);
        }
        plot.panel(&mut body, top(number), tally, course.bin, colour);
        let Tally { name, sent, doubled, .. } = tally;
        let (sent, lost, doubled) = (sent.len(), tally.lost(), doubled.len());
        let account = format!("{name}: sent {sent}, lost {lost}, doubled {doubled}");
        let x = LEFT + number as f64 * (RIGHT - LEFT) / 2.0;
        text(&mut body, x, bottom + 42.0, &bold(colour), &account);
    }
    plot.seconds(&mut body, bottom);
    let mut y = bottom + 68.0;
    for note in notes(course) {
        text(&mut body, 0.0, y, "", &note);
        y += LINE;
    }
    let height = y - LINE + 6.0;
    let attributes = format!("font-family=\"sans-serif\" font-size=\"12\" fill=\"{TEXT}\"");
    svg::document((WIDTH, height), &attributes, &body)
}

fn notes(course: &Course) -> Vec<String> {
    let Course { heartbeat, retry_delay, bin, .. } = course;
    let rate = 1.0 / PAUSE.as_secs_f64();
    vec![
        format!(
            "Numbered messages, {rate} a second, to an echo server and back, counted every {} ms when \
             they are back; both clients at the same time.",
            bin.as_millis()
        ),
        "Reset, and refused: a reset, then no new link is let in. Forgotten by a NAT: the link is \
         silent, new ones pass, and the reset comes at the end."
            .into(),
        format!(
            "longlink: a heartbeat every {heartbeat:?}, {MISSES} misses; an attempt every \
             {retry_delay:?}. It may double what is sent again after the kill, and says so."
        ),
        "TcpStream: connects again at once when a read or a write fails, then ten times a second, and \
         writes that line again; it has no"
            .into(),
        "heartbeat, and no memory of what it wrote before. What becomes due meanwhile is sent later, \
         by both."
            .into(),
    ]
}

struct Plot {
    /// In seconds.
    length: f64,
}

impl Plot {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * seconds / self.length
    }

    fn middle(&self, outage: &Outage) -> f64 {
        self.x((outage.begin + outage.end).as_secs_f64() / 2.0)
    }

    fn shade(&self, body: &mut String, top: f64, outage: &Outage, lost: usize) {
        let (begin, end) = (self.x(outage.begin.as_secs_f64()), self.x(outage.end.as_secs_f64()));
        let width = end - begin;
        let _ = writeln!(
            body,
            "<rect x=\"{begin:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"{PANEL}\" \
             fill=\"{BAD}\" fill-opacity=\"0.13\"/>"
        );
        let attributes = bold(if lost > 0 { BAD } else { TEXT }) + MIDDLE;
        text(body, self.middle(outage), top + 44.0, &attributes, &format!("{lost} lost"));
    }

    fn panel(&self, body: &mut String, top: f64, tally: &Tally, bin: Duration, colour: &str) {
        let title = format!("{}, messages a second", tally.name);
        text(body, LEFT, top - 8.0, &bold(colour), &title);

        let bottom = top + PANEL;
        let y = |rate: f64| bottom - PANEL * rate.min(HIGHEST) / HIGHEST;
        for rate in [0.0, 200.0, 400.0, 600.0] {
            let y = y(rate);
            let _ = writeln!(
                body,
                "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{TEXT}\" stroke-opacity=\"0.3\"/>"
            );
            text(body, LEFT - 6.0, y + 4.0, " text-anchor=\"end\"", &rate.to_string());
        }

        let seconds = bin.as_secs_f64();
        let bins = tally.bins(bin, (self.length / seconds).ceil() as usize);
        let mut steps = format!("M{LEFT} {bottom}");
        let mut peaks = String::new();
        for (number, count) in bins.iter().enumerate() {
            let rate = *count as f64 / seconds;
            let end = self.x((number + 1) as f64 * seconds);
            let _ = write!(steps, "V{:.1}H{end:.1}", y(rate));
            if rate > HIGHEST {
                text(&mut peaks, end + 4.0, top + 10.0, "", &format!("↑ {rate}"));
            }
        }
        let _ = writeln!(
            body,
            "<path d=\"{steps}V{bottom}Z\" fill=\"{colour}\" fill-opacity=\"0.35\" \
             stroke=\"{colour}\"/>"
        );
        body.push_str(&peaks);
    }

    fn seconds(&self, body: &mut String, bottom: f64) {
        let step = if self.length > 20.0 { 5 } else { 1 };
        for second in (0..=self.length as u32).step_by(step) {
            let unit = if second == 0 { " s" } else { "" };
            text(body, self.x(second.into()), bottom + 16.0, MIDDLE, &format!("{second}{unit}"));
        }
    }
}

fn bold(colour: &str) -> String {
    format!(" font-weight=\"bold\" fill=\"{colour}\"")
}
