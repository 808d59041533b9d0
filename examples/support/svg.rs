//! What the pictures for the README are made of. They stand in it as `<img>`: no scripts and no
//! fonts from elsewhere, and colours for light and for dark pages.

use std::fmt::Write;

/// Gray that is read on white and on black.
pub(crate) const TEXT: &str = "#7d8590";

/// A picture of this size. `attributes` say how text looks in it.
pub(crate) fn document((width, height): (f64, f64), attributes: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" {attributes}>\n{body}</svg>\n"
    )
}

/// Text whose line stands there. Attributes begin with a blank.
pub(crate) fn text(body: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y:.1}\"{attributes}>{text}</text>");
}
