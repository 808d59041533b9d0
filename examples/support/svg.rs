//! What the pictures for the README are made of. They stand in it as `<img>`: no scripts and no
//! fonts from elsewhere. Each brings its own paper, light or dark as the reader's system is, since
//! no colour reads well on both.

use std::fmt::Write;

/// As wide as GitHub shows it; on a phone it is half of that.
pub(crate) const WIDTH: f64 = 830.0;

/// Fonts that are about as wide as each other.
pub(crate) const SANS: &str = "-apple-system,'Segoe UI',Helvetica,Arial,sans-serif";

/// Classes of elements, and their colours on light paper and on dark paper.
pub(crate) const COLOURS: [(&str, [&str; 2]); 7] = [
    (PAPER, ["#ffffff", "#0d1117"]),
    (OUTAGE, ["#eff2f5", "#21262d"]),
    (INK, ["#1f2328", "#f0f6fc"]),
    (MUTED, ["#59636e", "#9198a1"]),
    (OURS, ["#0969da", "#58a6ff"]),
    (GOOD, ["#1a7f37", "#3fb950"]),
    (BAD, ["#cf222e", "#f85149"]),
];
/// The two that others are drawn on.
pub(crate) const PAPER: &str = "paper";
pub(crate) const OUTAGE: &str = "outage";
pub(crate) const INK: &str = "ink";
pub(crate) const MUTED: &str = "muted";
pub(crate) const OURS: &str = "ours";
pub(crate) const GOOD: &str = "good";
pub(crate) const BAD: &str = "bad";

/// A picture of this size. `attributes` say how text looks in it.
pub(crate) fn document((width, height): (f64, f64), attributes: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" class=\"{INK}\" fill=\"currentColor\" \
         {attributes}>\n{}<rect class=\"{PAPER}\" x=\"0\" y=\"0\" width=\"{width:.0}\" \
         height=\"{height:.0}\" rx=\"8\"/>\n{body}</svg>\n",
        style(),
    )
}

pub(crate) fn style() -> String {
    let colours = |paper: usize| {
        COLOURS.map(|(class, colours)| format!(".{class}{{color:{}}}", colours[paper])).concat()
    };
    let (light, dark) = (colours(0), colours(1));
    format!("<style>\n{light}\n@media (prefers-color-scheme:dark){{{dark}}}\n</style>\n")
}

/// Attributes of what is drawn in that colour.
pub(crate) fn class(class: &str) -> String {
    format!(" class=\"{class}\"")
}

/// Those of large text.
pub(crate) fn bold(class: &str, size: u32) -> String {
    self::class(class) + &format!(" font-weight=\"bold\" font-size=\"{size}\"")
}

/// Text whose line stands there. Attributes begin with a blank.
pub(crate) fn text(body: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{text}</text>");
}
