//! Whether a picture can be read, on light paper and on dark: the contrast between what is drawn
//! and what is behind it, as the Web Content Accessibility Guidelines (WCAG) define it.

use roxmltree::{Document, Node};

use crate::svg::{COLOURS, OUTAGE, PAPER, style};

const OF_TEXT: f64 = 4.5;
const OF_GRAPHICS: f64 = 3.0;
/// Of a character, in font sizes.
const CHARACTER: f64 = 0.55;

/// An error names the first element that is not seen well.
pub(crate) fn check(svg: &str) -> Result<(), String> {
    if !svg.contains(&style()) {
        return Err("it was drawn with other colours: draw it again".into());
    }
    let document = Document::parse(svg).map_err(|error| format!("not XML: {error}"))?;
    let elements = document.root_element().descendants().filter(Node::is_element);
    for (node, paper) in elements.flat_map(|node| [(node, 0), (node, 1)]) {
        let class = node.attribute("class").filter(|class| !is_ground(class));
        let (least, grounds) = match (node.tag_name().name(), class) {
            ("text", _) => (OF_TEXT, behind(node, paper)?),
            // It may cross all that lies on the paper.
            ("rect" | "path", Some(_)) => (OF_GRAPHICS, grounds(&document, paper)),
            _ => continue,
        };
        for ground in grounds {
            let contrast = contrast(colour(node, paper)?, ground);
            if contrast < least {
                return Err(format!("{contrast:.2} : 1 on {ground}: {}", &svg[node.range()]));
            }
        }
    }
    Ok(())
}

fn is_ground(class: &str) -> bool {
    [PAPER, OUTAGE].contains(&class)
}

/// Of the element, or of what it stands in.
fn colour<'a>(node: Node<'a, '_>, paper: usize) -> Result<&'a str, String> {
    let own = |node: Node<'a, '_>| {
        let fill = node.attribute("fill").filter(|fill| fill.starts_with('#'));
        let class = node.attribute("class").and_then(|class| of_class(class, paper));
        fill.or(class)
    };
    let colour = node.ancestors().find_map(own);
    colour.ok_or_else(|| format!("no colour: {}", &node.document().input_text()[node.range()]))
}

fn of_class(class: &str, paper: usize) -> Option<&'static str> {
    COLOURS.iter().find(|(name, _)| *name == class).map(|(_, colours)| colours[paper])
}

fn grounds<'a>(document: &'a Document, paper: usize) -> Vec<&'a str> {
    let classes = document.descendants().filter_map(|node| node.attribute("class"));
    classes.filter(|class| is_ground(class)).filter_map(|class| of_class(class, paper)).collect()
}

/// What is behind the begin, the middle and the end of a text: the last area drawn there before
/// it, of those that are always there and those that are there when it is.
fn behind<'a>(text: Node<'a, '_>, paper: usize) -> Result<Vec<&'a str>, String> {
    let size = text.ancestors().find_map(|node| number(node, "font-size")).unwrap_or_default();
    let characters = text.text().unwrap_or_default().chars().count() as f64;
    let width = number(text, "textLength").unwrap_or(characters * CHARACTER * size);
    let begin = match text.attribute("text-anchor") {
        Some("middle") => -0.5,
        Some("end") => -1.0,
        _ => 0.0,
    };
    let at = |name| number(text, name).unwrap_or_default();
    let (x, y) = (at("x"), at("y") - size / 3.0);
    let areas: Vec<_> = text
        .document()
        .descendants()
        .take_while(|node| *node != text)
        .filter(|node| node.has_tag_name("rect"))
        .filter(|node| node.parent() == text.parent() || node.parent() == root(text))
        .filter(|node| node.attribute("class").is_none_or(is_ground))
        .collect();
    let ground = |part: f64| {
        let area = areas.iter().rfind(|area| covers(**area, x + (begin + part) * width, y));
        let outside = || format!("outside: {}", text.text().unwrap_or_default());
        colour(*area.ok_or_else(outside)?, paper)
    };
    [0.01, 0.5, 0.99].into_iter().map(ground).collect()
}

fn root<'a, 'input>(node: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
    Some(node.document().root_element())
}

fn covers(area: Node, x: f64, y: f64) -> bool {
    let within = |at: f64, begin, length| {
        let begin = number(area, begin).unwrap_or_default();
        (begin..=begin + number(area, length).unwrap_or_default()).contains(&at)
    };
    within(x, "x", "width") && within(y, "y", "height")
}

fn number(node: Node, attribute: &str) -> Option<f64> {
    node.attribute(attribute)?.parse().ok()
}

/// Between two colours, from 1 to 21.
fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// Of #rrggbb.
fn luminance(colour: &str) -> f64 {
    let part = |begin: usize| {
        let part = u8::from_str_radix(&colour[begin..begin + 2], 16).unwrap_or_default();
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
}
