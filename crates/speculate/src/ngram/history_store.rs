//! Earlier answers on disk, for as long as they fit.
//!
//! `KEY.history` is a header and one record an answer, appended under a lock: a process that dies leaves at most a torn
//! last record, which is cut off when the next one is written. `KEY.index` is the order of its contexts, written
//! whole and put in place at once; without it, or with one of other tokens, the array is sorted anew. Only the user may
//! read either.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::suffix_index::{SEPARATOR, SuffixIndex};

const MAGIC: &[u8; 8] = b"NRHIST\x01\n";
const INDEX_MAGIC: &[u8; 8] = b"NRINDX\x02\n";
/// Length, checksum and time.
const RECORD_HEAD: usize = 16;
/// No answer is longer; a record that says so is torn.
const MAX_RECORD_TOKENS: usize = 1 << 20;
/// Tokens kept by default.
pub const DEFAULT_HISTORY_TOKENS: usize = 1_000_000;

/// Earlier answers and where they occurred, in memory and on disk.
#[derive(Debug)]
pub struct HistoryStore {
    path: PathBuf,
    max_tokens: usize,
    answers: Vec<Answer>,
    index: SuffixIndex,
    /// Bytes of the file that hold whole records.
    n_bytes: u64,
    /// Whether the index on disk lacks answers.
    is_index_old: bool,
}

/// An answer in the index.
#[derive(Debug, Clone, Copy)]
struct Answer {
    /// Its first token's place.
    start: usize,
    len: usize,
    seconds: u64,
}

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HistorySummary {
    /// The file.
    pub path: PathBuf,
    /// Answers in it.
    pub n_answers: usize,
    /// Their tokens.
    pub n_tokens: usize,
    /// Bytes on disk, the index included.
    pub n_bytes: u64,
    /// Seconds since 1970 of the oldest answer and of the newest.
    pub from_to: Option<(u64, u64)>,
}

impl HistoryStore {
    /// Opens the answers of the vocabulary `key` in `folder`, both made if they are not there. A record that is torn or
    /// damaged ends what is read.
    ///
    /// # Errors
    /// If the folder cannot be made or the file not be read.
    pub fn open(folder: &Path, key: &str, max_tokens: usize) -> io::Result<Self> {
        make_private_folder(folder)?;
        let path = folder.join(format!("{key}.history"));
        let mut store = Self {
            path,
            max_tokens: max_tokens.max(1),
            answers: Vec::new(),
            index: SuffixIndex::default(),
            n_bytes: MAGIC.len() as u64,
            is_index_old: false,
        };
        let mut bytes = Vec::new();
        match File::open(&store.path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(store),
            Err(error) => return Err(error),
        };
        let mut tokens = Vec::with_capacity(bytes.len() / 4);
        store.read(&bytes, &mut tokens);
        let sorted = fs::read(store.index_path()).ok().and_then(|bytes| read_index(&bytes, &tokens));
        store.is_index_old = sorted.as_ref().is_none_or(|&(_, n_covered)| n_covered < tokens.len());
        let (sorted, n_covered) = sorted.unwrap_or_default();
        store.index = SuffixIndex::with_order(tokens, sorted, n_covered);
        Ok(store)
    }

    /// All whole records of `bytes`.
    fn read(&mut self, bytes: &[u8], tokens: &mut Vec<u32>) {
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
            if !bytes.is_empty() {
                tracing::warn!(path = %self.path.display(), "no history file; it will be replaced");
            }
            self.n_bytes = 0;
            return;
        };
        while let Some((answer, seconds, after)) = read_record(rest) {
            self.answers.push(Answer { start: tokens.len(), len: answer.len() / 4, seconds });
            tokens.extend(answer.as_chunks().0.iter().map(|&token| u32::from_le_bytes(token)));
            tokens.push(SEPARATOR);
            rest = after;
        }
        self.n_bytes = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            tracing::warn!(
                path = %self.path.display(),
                n_bytes = rest.len(),
                "the end of the history is damaged; it will be cut off"
            );
        }
    }

    /// Adds an answer, in memory and on disk. The oldest go where there are too many.
    ///
    /// # Errors
    /// If it cannot be written; it is in memory then.
    pub fn append(&mut self, answer: &[u32]) -> io::Result<()> {
        let answer = &answer[..answer.len().min(MAX_RECORD_TOKENS)];
        if answer.is_empty() || answer.contains(&SEPARATOR) {
            return Ok(());
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.answers.push(Answer { start: self.index.tokens().len(), len: answer.len(), seconds });
        self.index.extend(answer);
        self.index.extend(&[SEPARATOR]);
        self.is_index_old = true;
        if self.index.tokens().len() > self.max_tokens {
            return self.drop_oldest();
        }
        let mut file = private().create(true).read(true).append(true).open(&self.path)?;
        file.lock()?;
        // Another process may have written, or died while it did.
        let mut bytes = Vec::new();
        let len = file.seek(SeekFrom::End(0))?;
        if len < self.n_bytes || len == 0 || self.n_bytes == 0 {
            file.set_len(0)?;
            bytes.extend_from_slice(MAGIC);
            self.n_bytes = 0;
            // Whatever was there is gone; what is known here is all there is.
            for &known in &self.answers {
                write_record(
                    &mut bytes,
                    &self.index.tokens()[known.start..known.start + known.len],
                    known.seconds,
                );
            }
        } else {
            let mut others = Vec::new();
            file.seek(SeekFrom::Start(self.n_bytes))?;
            file.read_to_end(&mut others)?;
            let mut rest = &others[..];
            while let Some((_, _, after)) = read_record(rest) {
                rest = after;
            }
            self.n_bytes += (others.len() - rest.len()) as u64;
            file.set_len(self.n_bytes)?;
            write_record(&mut bytes, answer, seconds);
        }
        file.write_all(&bytes)?;
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Drops the oldest answers until three quarters of what may be are left, and writes the rest anew.
    fn drop_oldest(&mut self) -> io::Result<()> {
        let mut n_left = self.index.tokens().len();
        let n_gone = self.answers.iter().take_while(|answer| {
            let is_too_much = n_left > self.max_tokens / 4 * 3;
            n_left -= if is_too_much { answer.len + 1 } else { 0 };
            is_too_much
        });
        let n_gone = n_gone.count().min(self.answers.len() - 1);
        self.answers.drain(..n_gone);
        let cut = self.answers[0].start;
        self.index.drop_front(cut);
        let mut bytes = MAGIC.to_vec();
        for answer in &mut self.answers {
            answer.start -= cut;
            let text = &self.index.tokens()[answer.start..answer.start + answer.len];
            write_record(&mut bytes, text, answer.seconds);
        }
        self.n_bytes = bytes.len() as u64;
        replace(&self.path, &bytes)
    }

    /// Puts the index on disk, so that the next start need not sort.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_index(&mut self) -> io::Result<()> {
        if !self.is_index_old {
            return Ok(());
        }
        let sorted = self.index.sorted();
        let mut bytes = INDEX_MAGIC.to_vec();
        bytes.extend((self.index.tokens().len() as u64).to_le_bytes());
        bytes.extend(checksum(self.index.tokens()).to_le_bytes());
        bytes.extend(sorted.iter().flat_map(|start| start.to_le_bytes()));
        replace(&self.index_path(), &bytes)?;
        self.is_index_old = false;
        Ok(())
    }

    /// What it holds.
    pub fn summary(&self) -> HistorySummary {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let from_to = self.answers.first().zip(self.answers.last());
        HistorySummary {
            path: self.path.clone(),
            n_answers: self.answers.len(),
            n_tokens: self.answers.iter().map(|answer| answer.len).sum(),
            n_bytes: size(&self.path) + size(&self.index_path()),
            from_to: from_to.map(|(oldest, newest)| (oldest.seconds, newest.seconds)),
        }
    }

    /// The answers, oldest first.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = &[u32]> {
        self.answers.iter().map(|answer| &self.index.tokens()[answer.start..answer.start + answer.len])
    }

    /// Forgets all answers, in memory and on disk.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn clear(&mut self) -> io::Result<()> {
        for path in [&self.path, &self.index_path()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.answers.clear();
        self.index = SuffixIndex::default();
        (self.n_bytes, self.is_index_old) = (MAGIC.len() as u64, false);
        Ok(())
    }

    pub(super) fn index(&self) -> &SuffixIndex {
        &self.index
    }

    fn index_path(&self) -> PathBuf {
        self.path.with_extension("index")
    }
}

impl Drop for HistoryStore {
    fn drop(&mut self) {
        if let Err(error) = self.save_index() {
            tracing::warn!(path = %self.path.display(), %error, "the history's index is not saved; the next start takes longer");
        }
    }
}

/// The first record's tokens, its time, and what follows it; `None` if it is torn or damaged.
fn read_record(bytes: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let n_tokens = number(0) as usize;
    if n_tokens == 0 || n_tokens > MAX_RECORD_TOKENS {
        return None;
    }
    let (answer, rest) = rest.split_at_checked(4 * n_tokens)?;
    let seconds = u64::from(number(8)) | u64::from(number(12)) << 32;
    (fnv(&[&head[8..], answer]) as u32 == number(4)).then_some((answer, seconds, rest))
}

fn write_record(out: &mut Vec<u8>, answer: &[u32], seconds: u64) {
    let bytes: Vec<u8> = answer.iter().flat_map(|token| token.to_le_bytes()).collect();
    let time = seconds.to_le_bytes();
    out.extend((answer.len() as u32).to_le_bytes());
    out.extend((fnv(&[&time, &bytes]) as u32).to_le_bytes());
    out.extend(time);
    out.extend(bytes);
}

/// The sorted positions in an index file, if they are those of a beginning of `tokens`, and how many tokens that has.
fn read_index(bytes: &[u8], tokens: &[u32]) -> Option<(Vec<u32>, usize)> {
    let rest = bytes.strip_prefix(INDEX_MAGIC)?;
    let (n_covered, rest) = rest.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let n_covered = usize::try_from(u64::from_le_bytes(*n_covered)).ok()?;
    let covered = tokens.get(..n_covered)?;
    if checksum(covered) != u64::from_le_bytes(*sum) || !rest.len().is_multiple_of(4) {
        return None;
    }
    let sorted = rest.as_chunks().0.iter().map(|&position| u32::from_le_bytes(position)).collect();
    Some((sorted, n_covered))
}

fn checksum(tokens: &[u32]) -> u64 {
    tokens.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &token| {
        (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01b3).rotate_left(17)
    })
}

/// FNV-1a, folded.
fn fnv(parts: &[&[u8]]) -> u64 {
    let hash = parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ hash >> 32
}

/// Options of a file that its owner alone may read.
fn private() -> OpenOptions {
    #[allow(unused_mut, reason = "elsewhere than on Unix there is no mode")]
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file beside `path` and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = (|| {
        let mut file = private().create(true).write(true).truncate(true).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The error at hand is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(folder: &Path) -> HistoryStore {
        HistoryStore::open(folder, "k", 1000).unwrap()
    }

    fn all(store: &HistoryStore) -> Vec<Vec<u32>> {
        store.answers().map(<[u32]>::to_vec).collect()
    }

    #[test]
    fn answers_come_back_with_and_without_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let answers: Vec<Vec<u32>> = (0..9).map(|i| (i..i + 40).collect()).collect();
        let mut store = open(folder.path());
        answers[..5].iter().for_each(|answer| store.append(answer).unwrap());
        store.save_index().unwrap();
        answers[5..].iter().for_each(|answer| store.append(answer).unwrap());
        let again = open(folder.path());
        assert_eq!(all(&again), answers);
        assert!(again.index.tokens() == store.index.tokens());
        let summary = again.summary();
        assert_eq!((summary.n_answers, summary.n_tokens), (9, 360));
        assert_eq!(again.index, SuffixIndex::new(again.index.tokens()));
    }

    #[test]
    fn the_oldest_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        for i in 0..60 {
            store.append(&[i; 30]).unwrap();
            assert!(store.index.tokens().len() <= 1000);
        }
        let left = all(&open(folder.path()));
        assert_eq!(left, all(&store));
        assert_eq!(left.last().unwrap(), &[59; 30]);
        assert!(left.len() > 15 && left.len() < 33);
    }

    #[test]
    fn two_processes_append_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (open(folder.path()), open(folder.path()));
        for i in 0..5 {
            one.append(&[i; 3]).unwrap();
            two.append(&[100 + i; 4]).unwrap();
        }
        assert_eq!(open(folder.path()).summary().n_answers, 10);
    }

    #[test]
    fn a_torn_record_is_cut_off_and_the_next_one_follows() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.append(&[1, 2, 3]).unwrap();
        store.append(&[4, 5, 6]).unwrap();
        let bytes = fs::read(&store.path).unwrap();
        fs::write(&store.path, &bytes[..bytes.len() - 5]).unwrap();
        let mut torn = open(folder.path());
        assert_eq!(all(&torn), [[1, 2, 3]]);
        torn.append(&[7, 8]).unwrap();
        assert_eq!(all(&open(folder.path())), [vec![1, 2, 3], vec![7, 8]]);
    }

    #[test]
    fn clearing_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.append(&[1, 2, 3]).unwrap();
        store.save_index().unwrap();
        store.clear().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        store.append(&[9]).unwrap();
        assert_eq!(all(&open(folder.path())), [[9]]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("a/history");
        let mut store = open(&folder);
        store.append(&[1]).unwrap();
        store.save_index().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!((mode(&store.path), mode(&store.index_path())), (0o600, 0o600));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_bytes_are_survived(
            at in 0usize..400, byte: u8, cut in 0usize..400, in_index: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            for i in 0..4 {
                store.append(&[i, i + 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]).unwrap();
            }
            store.save_index().unwrap();
            let path = if in_index { store.index_path() } else { store.path.clone() };
            let mut bytes = fs::read(&path).unwrap();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len.saturating_sub(cut % 50));
            fs::write(&path, bytes).unwrap();
            let mut opened = open(folder.path());
            prop_assert_eq!(&opened.index, &SuffixIndex::new(opened.index.tokens()));
            opened.append(&[5, 6]).unwrap();
            let again = open(folder.path());
            prop_assert_eq!(all(&again), all(&opened));
        }
    }
}
