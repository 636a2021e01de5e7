//! Several files changed in one step: all of them, or the workspace is as it was.
//!
//! Knows nothing of what the changes mean. Start at [`Draft`]; [`Draft::commit`] does it.
//!
//! Every new file is first written whole beside its place. Then they change places one after the other; the old ones
//! are kept until the last is there, and go back if one is not. What a crash leaves half done, the savepoint undoes.

use crate::args::refuse;
use crate::name;
use crate::tree::{Made, Target, Tree};
use contract::limits::{CHANGE_FILES, EDIT_BYTES};
use contract::{Digest, Fault};
use std::path::{Component, Path, PathBuf};

/// Bytes that the files of one change may have together.
const ALL_BYTES: usize = 4 * EDIT_BYTES;

/// Files as they shall be.
#[derive(Debug)]
pub(crate) struct Draft<'t> {
    tree: &'t Tree,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// What is there; none = nothing.
    was: Option<Digest>,
    was_executable: bool,
    /// It is reached through a link that bears its name.
    linked: bool,
    now: Option<Vec<u8>>,
    executable: Option<bool>,
    changed: bool,
}

impl<'t> Draft<'t> {
    /// Nothing is changed yet.
    pub(crate) fn new(tree: &'t Tree) -> Self {
        Self { tree, files: Vec::new() }
    }

    fn file(&mut self, path: &Path) -> Result<&mut File, Fault> {
        let path = plain(self.tree.relative(path));
        if let Some(at) = self.files.iter().position(|file| file.path == path) {
            return Ok(&mut self.files[at]);
        }
        if self.files.len() == 2 * CHANGE_FILES {
            return Err(refuse(format!("at most {CHANGE_FILES} files can be changed at once")));
        }
        let target = self.tree.target(&path)?;
        let (was, linked) =
            (target.as_ref().and_then(Target::digest), target.as_ref().is_some_and(|t| t.linked));
        let was_executable = target.as_ref().is_some_and(Target::is_executable);
        let now = target.and_then(|target| target.now);
        self.fits(now.as_ref().map_or(0, Vec::len))?;
        self.files.push(File { path, was, was_executable, linked, now, executable: None, changed: false });
        let last = self.files.len() - 1;
        Ok(&mut self.files[last])
    }

    /// Is there room for so many bytes more?
    fn fits(&self, more: usize) -> Result<(), Fault> {
        let all: usize = self.files.iter().filter_map(|file| file.now.as_ref()).map(Vec::len).sum();
        if all + more > ALL_BYTES {
            return Err(refuse(format!(
                "the files of one change may have {ALL_BYTES} bytes together: change fewer at once"
            )));
        }
        Ok(())
    }

    /// What the file holds by now; none = there is no such file.
    pub(crate) fn read(&mut self, path: &Path) -> Result<Option<&[u8]>, Fault> {
        Ok(self.file(path)?.now.as_deref())
    }

    /// It shall hold this.
    pub(crate) fn write(&mut self, path: &Path, bytes: Vec<u8>) -> Result<(), Fault> {
        let before = self.file(path)?.now.as_ref().map_or(0, Vec::len);
        self.fits(bytes.len().saturating_sub(before))?;
        let file = self.file(path)?;
        (file.now, file.changed) = (Some(bytes), true);
        Ok(())
    }

    /// It shall not be there.
    pub(crate) fn remove(&mut self, path: &Path) -> Result<(), Fault> {
        let file = self.file(path)?;
        if file.linked {
            let path = name::show(&file.path);
            return Err(refuse(format!(
                "`{path}` is a link: remove what it points to, or the link by shell"
            )));
        }
        (file.now, file.changed, file.executable) = (None, true, None);
        Ok(())
    }

    /// A file of the draft shall be executable, or not; `None` leaves it.
    pub(crate) fn executable(&mut self, path: &Path, executable: Option<bool>) {
        if let Ok(file) = self.file(path)
            && executable.is_some()
        {
            (file.executable, file.changed) = (executable, true);
        }
    }

    pub(crate) fn is_executable(&mut self, path: &Path) -> bool {
        self.file(path).is_ok_and(|file| file.executable.unwrap_or(file.was_executable))
    }

    /// Does it.
    pub(crate) fn commit(self) -> Result<(), Fault> {
        self.commit_unless(|_| Ok(()))
    }

    /// Does it unless this fails before the file of that number is put in its place.
    fn commit_unless(self, stop: impl Fn(usize) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut made = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let real = |file: &&File| file.changed && (file.now.is_some() || file.was.is_some());
        let files: Vec<&File> = self.files.iter().filter(real).collect();
        let result = prepare(self.tree, &files, &mut made, &mut steps).and_then(|()| {
            let alone = steps.len() == 1;
            steps.iter_mut().enumerate().try_for_each(|(number, step)| {
                stop(number)?;
                step.put(alone)
            })
        });
        if result.is_err() {
            steps.iter_mut().rev().for_each(Step::undo);
            made.iter().rev().for_each(Made::undo);
        } else {
            steps.iter().for_each(Step::finish);
        }
        result
    }
}

/// The path without what means nothing in it.
fn plain(path: &Path) -> PathBuf {
    let bytes = path.as_os_str();
    let names_a_directory =
        bytes.as_encoded_bytes().ends_with(b"/") || bytes.as_encoded_bytes().ends_with(b"/.");
    // The tree refuses those, and says why.
    let parts: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if names_a_directory || parts.as_os_str().is_empty() { path.to_owned() } else { parts }
}

/// Writes everything that can be written before anything changes.
fn prepare(tree: &Tree, files: &[&File], made: &mut Vec<Made>, steps: &mut Vec<Step>) -> Result<(), Fault> {
    for file in files {
        let mut target = tree.target_made(&file.path, made)?;
        if target.digest() != file.was {
            return Err(refuse(format!("`{}` changed meanwhile; read it again", name::show(&file.path))));
        }
        let same = |step: &&Step| step.target.same_place(&target);
        if let Some(other) = steps.iter().find(same) {
            let (one, two) = (name::show(&other.path), name::show(&file.path));
            return Err(refuse(format!("`{one}` and `{two}` are the same file; use one name for it")));
        }
        let (spare, removes) = (target.spare(), file.now.is_none());
        // Compared, what was there is not needed any more.
        let replaces = target.now.take().is_some();
        let (path, state) = (file.path.clone(), State::Nothing);
        steps.push(Step { path, target, spare, removes, replaces, state });
        let step = steps.last_mut().map(|step| (&step.target, &step.spare, &mut step.state));
        if let (Some((target, spare, state)), Some(bytes)) = (step, &file.now) {
            *state = State::Written;
            target.write(spare, bytes, file.executable)?;
        }
    }
    Ok(())
}

/// A file on its way.
#[derive(Debug)]
struct Step {
    path: PathBuf,
    target: Target,
    /// A name beside it: of the new file before, of the old one afterwards.
    spare: String,
    removes: bool,
    /// There is one.
    replaces: bool,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    /// The new file is under the spare name.
    Written,
    /// It is in its place, and the old one is under the spare name.
    Swapped,
    /// It is in its place, where nothing was.
    Placed,
}

impl Step {
    fn put(&mut self, alone: bool) -> Result<(), Fault> {
        self.state = if self.removes {
            self.target.rename_to(&self.spare)?;
            State::Swapped
        } else if !self.replaces {
            self.target.place(&self.spare)?;
            State::Placed
        } else if alone {
            // Nothing has to go back when this is the only one.
            self.target.replace_by(&self.spare)?;
            State::Placed
        } else {
            self.target.exchange(&self.spare)?;
            State::Swapped
        };
        Ok(())
    }

    /// Puts the old one back. Failing here, the savepoint is what is left.
    fn undo(&mut self) {
        match self.state {
            State::Nothing => {}
            State::Written => self.target.remove(Some(&self.spare)),
            State::Swapped => drop(self.target.replace_by(&self.spare)),
            State::Placed => self.target.remove(None),
        }
    }

    fn finish(&self) {
        if self.state == State::Swapped {
            self.target.remove(Some(&self.spare));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn image(bench: &Bench) -> Vec<(PathBuf, Vec<u8>, u32)> {
        fn walk(dir: &Path, into: &mut Vec<(PathBuf, Vec<u8>, u32)>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let (path, kind) = entry.map(|e| (e.path(), e.file_type().unwrap())).unwrap();
                let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
                if kind.is_dir() {
                    into.push((path.clone(), b"directory".to_vec(), mode));
                    walk(&path, into);
                } else {
                    into.push((path.clone(), std::fs::read(&path).unwrap_or_default(), mode));
                }
            }
        }
        let mut all = Vec::new();
        walk(bench.root(), &mut all);
        all.sort();
        all
    }

    fn draft<'t>(tree: &'t Tree) -> Draft<'t> {
        let mut draft = Draft::new(tree);
        draft.write("a".as_ref(), b"new a".to_vec()).unwrap();
        draft.write("new/deep/b".as_ref(), b"new b".to_vec()).unwrap();
        draft.remove("gone".as_ref()).unwrap();
        draft.write("run.sh".as_ref(), b"new".to_vec()).unwrap();
        draft.executable("run.sh".as_ref(), Some(false));
        draft.write("last".as_ref(), b"new last".to_vec()).unwrap();
        draft
    }

    fn bench() -> Bench {
        let bench = Bench::new();
        for name in ["a", "gone", "last", "run.sh"] {
            bench.file(name, format!("old {name}"));
        }
        std::fs::set_permissions(bench.root().join("run.sh"), PermissionsExt::from_mode(0o754)).unwrap();
        bench
    }

    #[test]
    fn all_of_it_happens() {
        let bench = bench();
        draft(&Tree::at(bench.root()).unwrap()).commit().unwrap();
        assert_eq!((bench.text("a"), bench.text("new/deep/b")), ("new a".into(), "new b".into()));
        assert!(!bench.root().join("gone").exists());
        assert_eq!(
            std::fs::metadata(bench.root().join("run.sh")).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(image(&bench).len(), 6, "no file stays under another name: {:?}", image(&bench));
    }

    #[test]
    fn or_none_of_it_wherever_it_fails() {
        let bench = bench();
        let before = image(&bench);
        for at in 0..5 {
            let tree = Tree::at(bench.root()).unwrap();
            let stop = |number| if number == at { Err(refuse("the disk is gone")) } else { Ok(()) };
            assert_eq!(draft(&tree).commit_unless(stop).unwrap_err().what, "the disk is gone");
            assert_eq!(image(&bench), before, "failed at file {at}");
        }
    }

    #[test]
    fn what_cannot_be_written_stops_it_before_anything_changes() {
        let bench = bench();
        let before = image(&bench);
        for (path, why) in [
            ("n".repeat(300), "too long"),
            ("../outside.txt".into(), "leads out"),
            (".git/hooks/x".into(), "belongs to git"),
            ("a/below/a/file".into(), "no directory"),
        ] {
            let tree = Tree::at(bench.root()).unwrap();
            let mut draft = draft(&tree);
            let error = draft.write(path.as_ref(), b"x".to_vec()).and_then(|()| draft.commit()).unwrap_err();
            assert!(error.what.contains(why), "{path}: {error}");
            assert_eq!(image(&bench), before);
        }
        bench.outside_is_untouched();
    }

    #[test]
    fn what_changed_meanwhile_is_not_overwritten() {
        let bench = bench();
        let tree = Tree::at(bench.root()).unwrap();
        let draft = draft(&tree);
        bench.file("last", "by somebody else");
        let before = image(&bench);
        assert!(draft.commit().unwrap_err().what.contains("`last` changed meanwhile"));
        assert_eq!(image(&bench), before);
    }

    #[test]
    fn only_so_much_is_held_at_once() {
        let bench = Bench::new();
        let tree = Tree::at(bench.root()).unwrap();
        let mut draft = Draft::new(&tree);
        for n in 0..4 {
            let file = std::fs::File::create(bench.root().join(format!("{n}"))).unwrap();
            file.set_len(EDIT_BYTES as u64 - 1).unwrap();
            draft.read(format!("{n}").as_ref()).unwrap();
        }
        assert!(draft.write("new".as_ref(), vec![0; 5]).unwrap_err().what.contains("change fewer at once"));
        draft.write("new".as_ref(), vec![0; 4]).unwrap();
        bench.file("more", "x");
        assert!(draft.read("more".as_ref()).unwrap_err().what.contains("change fewer at once"));
        draft.write("0".as_ref(), Vec::new()).unwrap();
        draft.read("more".as_ref()).unwrap();
    }

    #[test]
    fn what_a_crash_left_is_in_nobodys_way() {
        let bench = bench();
        for n in 0..200 {
            bench.file(format!(".kapell-{}-{n}.tmp", std::process::id()), "left");
        }
        draft(&Tree::at(bench.root()).unwrap()).commit().unwrap();
        assert_eq!((bench.text("a"), bench.text("last")), ("new a".into(), "new last".into()));
        assert_eq!(bench.text(&format!(".kapell-{}-0.tmp", std::process::id())), "left");
    }

    #[test]
    fn two_names_of_one_file_are_refused() {
        let bench = bench();
        symlink("a", bench.root().join("alias")).unwrap();
        symlink(".", bench.root().join("here")).unwrap();
        for other in ["alias", "here/a"] {
            let tree = Tree::at(bench.root()).unwrap();
            let mut draft = Draft::new(&tree);
            draft.write("a".as_ref(), b"1".to_vec()).unwrap();
            draft.write(other.as_ref(), b"2".to_vec()).unwrap();
            assert!(draft.commit().unwrap_err().what.contains("the same file"));
            assert_eq!(bench.text("a"), "old a");
        }
        let tree = Tree::at(bench.root()).unwrap();
        assert!(Draft::new(&tree).remove("alias".as_ref()).unwrap_err().what.contains("is a link"));
    }
}
