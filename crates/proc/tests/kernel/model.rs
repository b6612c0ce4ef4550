//! A model, and its text beside the kernel's.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Range;

use vmaple_mm::{Kref, Layout, Limits, MapFlags, Mm, Prot, VirtAddr, VmaStore};
use vmaple_proc::Maps;

use super::child::range;
use super::op::Files;

/// An address space of which all but the window is mapped.
pub(crate) struct Model<S: VmaStore> {
    pub(crate) mm: Mm<S>,
    pub(crate) files: Vec<Kref<vmaple_mm::File>>,
    pub(crate) text: Vec<u8>,
    objects: Objects,
}

impl<S: VmaStore> Model<S> {
    pub(crate) fn new(layout: Layout, window: &Range<u64>, files: &Files) -> Self {
        let mm = Mm::new(layout, Limits::default()).unwrap();
        // Mappings of a file of their own, which merge with none.
        let filler = vmaple_mm::File::new((0, 0), 0, &b"filler"[..]).unwrap();
        for gap in [layout.min_addr..window.start, window.end..layout.task_size] {
            let (flags, length) = (MapFlags::PRIVATE | MapFlags::FIXED, gap.end - gap.start);
            mm.mmap(VirtAddr(gap.start), length, Prot::empty(), flags, Some(&filler), 0)
                .unwrap();
        }
        Self {
            mm,
            files: files.of_model(),
            text: Vec::new(),
            objects: Objects::default(),
        }
    }

    /// Reads the model's maps. Whether they say what the kernel's say.
    pub(crate) fn agrees(&mut self, window: &Range<u64>, kernel: &[u8]) -> bool {
        self.text.clear();
        Maps::open(&self.mm).unwrap().read_to_end(&mut self.text).unwrap();
        assert_eq!(
            self.mm.map_count(),
            self.text.iter().filter(|&&byte| byte == b'\n').count()
        );
        let mut ours = lines(&self.text, window);
        let objects = &mut self.objects;
        lines(kernel, window).all(|line| ours.next().is_some_and(|our| objects.same(line, our)))
            && ours.next().is_none()
    }
}

/// The lines of a window.
pub(crate) fn lines<'t>(text: &'t [u8], window: &Range<u64>) -> impl Iterator<Item = &'t [u8]> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let below = lines.skip_while(|line| range(line).end <= window.start);
    below.take_while(|line| range(line).start < window.end)
}

/// Which number of the model stands for which of the kernel, and the other way round.
#[derive(Default)]
struct Objects([HashMap<Vec<u8>, Vec<u8>>; 2]);

impl Objects {
    fn same(&mut self, kernel: &[u8], model: &[u8]) -> bool {
        let (Some(kernel), Some(model)) = (shared_anonymous(kernel), shared_anonymous(model)) else {
            return kernel == model;
        };
        let [to, from] = &mut self.0;
        let known = |map: &mut HashMap<Vec<u8>, Vec<u8>>, key: &[u8], value: &[u8]| {
            map.entry(key.to_vec()).or_insert_with(|| value.to_vec()) == value
        };
        kernel.0 == model.0 && known(to, kernel.1, model.1) && known(from, model.1, kernel.1)
    }
}

/// Of a line of shared anonymous memory what stands before device and inode, and these.
fn shared_anonymous(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"/dev/zero (deleted)")?.trim_ascii_end();
    let mut spaces = line.iter().enumerate().filter(|(_, byte)| **byte == b' ');
    Some(line.split_at(spaces.nth(2)?.0))
}
