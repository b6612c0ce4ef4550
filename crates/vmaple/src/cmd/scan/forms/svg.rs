//! What pictures (SVG) have in common.

use std::fmt::Write;

/// Returns the beginning of a picture of this width and height: its style, its page and its title.
pub(in crate::cmd::scan) fn begin((width, height): (f64, f64), style: &str, title: &str) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <style>\n{style}\n</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
         <text x=\"8\" y=\"24\" font-size=\"18\">{title}</text>\n"
    )
}

/// Writes an entry of the legend below the title: the colour of a class, and what it stands for.
pub(in crate::cmd::scan) fn legend(svg: &mut String, x: f64, class: &str, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"36\" width=\"14\" height=\"14\"/><text x=\"{}\" y=\"48\">{text}</text>",
        x + 20.0
    );
}

/// Returns text with the escapes of XML.
pub(in crate::cmd::scan) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
