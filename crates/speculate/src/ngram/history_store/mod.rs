//! Earlier answers on disk, for as long as they fit.
//!
//! Three files per vocabulary, all the user's alone: `KEY.history` ([`answer_log`]), `KEY.index` ([`saved_order`]) and
//! `KEY.lock`, which whoever reads or writes the two holds for that time. An answer is appended in one write, so a
//! process that is killed loses the newest at most; files that are rewritten are replaced whole. What another process
//! added or forgot is seen before the next answer is added.

mod answer_log;
mod bytes;
mod private_files;
mod saved_order;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use self::answer_log::{HEADER_BYTES, Header, Record};
use super::suffix_index::{SEPARATOR, SuffixIndex};

/// Tokens kept by default.
pub const DEFAULT_HISTORY_TOKENS: usize = 1_000_000;
/// So many tokens may be left to sort at the next start, a few milliseconds, before the order is saved again.
const MAX_UNSAVED: usize = 2048;

/// Earlier answers and where they occurred, in memory and on disk.
#[derive(Debug)]
pub struct HistoryStore {
    files: Files,
    key: u32,
    max_tokens: usize,
    answers: Vec<Answer>,
    index: SuffixIndex,
    /// The file that the answers were read from or written to, and how much of it.
    generation: u64,
    n_bytes: u64,
    /// Tokens whose order is on disk.
    n_saved: usize,
}

#[derive(Debug)]
struct Files {
    answers: PathBuf,
    order: PathBuf,
    lock: PathBuf,
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
    /// Opens the answers of the vocabulary `key` in `folder`, which is made if it is not there.
    ///
    /// Of the answers the newest are kept, `max_tokens` long together. What cannot be read at the end of a file is cut
    /// off, with a warning.
    ///
    /// # Errors
    /// If a file cannot be read or written, a later version wrote it, or another process does not let go of it.
    pub fn open(folder: &Path, key: &str, max_tokens: usize) -> io::Result<Self> {
        private_files::create_folder(folder)?;
        let file = |extension: &str| folder.join(format!("{key}.{extension}"));
        let mut store = Self {
            files: Files { answers: file("history"), order: file("index"), lock: file("lock") },
            key: crc32fast::hash(key.as_bytes()),
            max_tokens: max_tokens.max(2),
            answers: Vec::new(),
            index: SuffixIndex::default(),
            generation: 0,
            n_bytes: 0,
            n_saved: 0,
        };
        if store.files.answers.exists() {
            let _lock = private_files::lock(&store.files.lock)?;
            store.load()?;
            store.tidy()?;
        }
        Ok(store)
    }

    /// Adds an answer, in memory and on disk. The oldest go where there are too many.
    ///
    /// # Errors
    /// If it cannot be written; it is in memory then.
    pub fn append(&mut self, answer: &[u32]) -> io::Result<()> {
        let tokens = answer.iter().copied().filter(|&token| token != SEPARATOR);
        let tokens: Vec<u32> = tokens.take(self.max_tokens - 1).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        let seconds = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let lock = private_files::lock(&self.files.lock);
        let written = lock.and_then(|lock| self.write(seconds, &tokens).map(|()| lock));
        self.take(vec![Record { seconds, tokens }]);
        let _lock = written?;
        self.tidy()
    }

    /// Forgets all answers, in memory and on disk.
    ///
    /// # Errors
    /// If a file cannot be removed.
    pub fn clear(&mut self) -> io::Result<()> {
        let _lock = private_files::lock(&self.files.lock)?;
        for path in [&self.files.answers, &self.files.order] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.forget();
        Ok(())
    }

    /// What it holds.
    pub fn summary(&self) -> HistorySummary {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let from_to = self.answers.first().zip(self.answers.last());
        HistorySummary {
            path: self.files.answers.clone(),
            n_answers: self.answers.len(),
            n_tokens: self.answers.iter().map(|answer| answer.len).sum(),
            n_bytes: size(&self.files.answers) + size(&self.files.order),
            from_to: from_to.map(|(oldest, newest)| (oldest.seconds, newest.seconds)),
        }
    }

    /// The answers, oldest first.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = &[u32]> {
        self.answers.iter().map(|answer| answer.of(&self.index))
    }

    /// Puts the index on disk, so that the next start need not sort.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_index(&mut self) -> io::Result<()> {
        if self.n_saved == self.index.tokens().len() {
            return Ok(());
        }
        let _lock = private_files::lock(&self.files.lock)?;
        let mut start = [0; HEADER_BYTES];
        let is_there =
            File::open(&self.files.answers).is_ok_and(|mut file| file.read_exact(&mut start).is_ok());
        // The order of answers that are gone is of no use.
        if is_there && self.is_ours(&start) { self.write_order() } else { Ok(()) }
    }

    pub(super) fn index(&self) -> &SuffixIndex {
        &self.index
    }

    /// Reads everything anew.
    fn load(&mut self) -> io::Result<()> {
        self.forget();
        let mut file = private_files::open(&self.files.answers)?;
        let bytes = private_files::read_rest(&mut file)?;
        let path = self.files.answers.display();
        let generation = match answer_log::read_header(&bytes, self.key) {
            Header::Good { generation } => generation,
            Header::Newer { version } => {
                return Err(io::Error::other(format!(
                    "'{path}' has format version {version}, this program reads {}; update it, or remove the file",
                    answer_log::VERSION
                )));
            }
            Header::Unknown => {
                if !bytes.is_empty() {
                    tracing::warn!("'{path}' is no history file of this version; it is started anew");
                }
                return self.rewrite();
            }
        };
        let mut tokens = Vec::with_capacity(bytes.len() / 4);
        let n_good = answer_log::read_records(&bytes[HEADER_BYTES..], |record| {
            self.answers.push(Answer::at(tokens.len(), &record));
            tokens.extend(record.tokens);
            tokens.push(SEPARATOR);
        });
        (self.generation, self.n_bytes) = (generation, (HEADER_BYTES + n_good) as u64);
        self.cut_off(&file)?;
        let order = File::open(&self.files.order).and_then(|mut file| private_files::read_rest(&mut file));
        (self.index, self.n_saved) = saved_order::read(&order.unwrap_or_default(), generation, tokens);
        Ok(())
    }

    /// Writes an answer after those of all processes, which are read first.
    fn write(&mut self, seconds: u64, tokens: &[u32]) -> io::Result<()> {
        let mut file = self.catch_up()?;
        let mut record = Vec::new();
        answer_log::put_record(&mut record, seconds, tokens);
        file.seek(SeekFrom::Start(self.n_bytes))?;
        file.write_all(&record).inspect_err(|_| {
            // The error at hand is the one to tell; a torn record is cut off by whoever finds it.
            let _ = file.set_len(self.n_bytes);
        })?;
        self.n_bytes += record.len() as u64;
        Ok(())
    }

    /// Reads what other processes added; the file stands open for more.
    fn catch_up(&mut self) -> io::Result<File> {
        let mut file = private_files::open(&self.files.answers)?;
        let mut start = [0; HEADER_BYTES];
        let is_same = file.read_exact(&mut start).is_ok()
            && self.is_ours(&start)
            && file.metadata()?.len() >= self.n_bytes;
        if !is_same {
            self.load()?;
            return private_files::open(&self.files.answers);
        }
        file.seek(SeekFrom::Start(self.n_bytes))?;
        let rest = private_files::read_rest(&mut file)?;
        let mut records = Vec::new();
        self.n_bytes += answer_log::read_records(&rest, |record| records.push(record)) as u64;
        self.cut_off(&file)?;
        self.take(records);
        Ok(file)
    }

    /// Whether a file with this header is the one that is known.
    fn is_ours(&self, header: &[u8]) -> bool {
        answer_log::read_header(header, self.key) == Header::Good { generation: self.generation }
    }

    /// Cuts off what could not be read.
    fn cut_off(&self, file: &File) -> io::Result<()> {
        let n_bad = file.metadata()?.len().saturating_sub(self.n_bytes);
        if n_bad > 0 {
            tracing::warn!(
                "the last {n_bad} bytes of '{}' are damaged; cut off",
                self.files.answers.display()
            );
            file.set_len(self.n_bytes)?;
        }
        Ok(())
    }

    /// Puts answers that are in the file into memory.
    fn take(&mut self, records: Vec<Record>) {
        let mut tokens = Vec::new();
        for record in records {
            self.answers.push(Answer::at(self.index.tokens().len() + tokens.len(), &record));
            tokens.extend(record.tokens);
            tokens.push(SEPARATOR);
        }
        self.index.extend(&tokens);
    }

    fn forget(&mut self) {
        self.answers.clear();
        self.index = SuffixIndex::default();
        (self.generation, self.n_bytes, self.n_saved) = (0, 0, 0);
    }

    /// Drops the oldest answers if there are too many, and saves the order if too much of it is not.
    fn tidy(&mut self) -> io::Result<()> {
        let n_tokens = self.index.tokens().len();
        if n_tokens > self.max_tokens {
            // Some room is made, so that this is rare; the newest answer stays.
            let n_surplus = n_tokens - (self.max_tokens - self.max_tokens / 4);
            let n_dropped = self.answers.partition_point(|answer| answer.start < n_surplus);
            let n_dropped = n_dropped.min(self.answers.len() - 1);
            let cut = self.answers[n_dropped].start;
            self.answers.drain(..n_dropped);
            self.answers.iter_mut().for_each(|answer| answer.start -= cut);
            self.index.drop_front(cut);
            self.rewrite()?;
        }
        if self.index.tokens().len() >= self.n_saved + MAX_UNSAVED { self.write_order() } else { Ok(()) }
    }

    /// Replaces the file by the answers in memory.
    fn rewrite(&mut self) -> io::Result<()> {
        self.generation = RandomState::new().hash_one(self.generation);
        self.n_saved = 0;
        let mut bytes = answer_log::header(self.key, self.generation).to_vec();
        for answer in &self.answers {
            answer_log::put_record(&mut bytes, answer.seconds, answer.of(&self.index));
        }
        self.n_bytes = bytes.len() as u64;
        private_files::replace(&self.files.answers, &bytes, true)
    }

    fn write_order(&mut self) -> io::Result<()> {
        let order = saved_order::write(&self.index, self.generation);
        private_files::replace(&self.files.order, &order, false)?;
        self.n_saved = self.index.tokens().len();
        Ok(())
    }
}

impl Drop for HistoryStore {
    fn drop(&mut self) {
        if let Err(error) = self.save_index() {
            tracing::warn!(path = %self.files.order.display(), %error, "the history's index is not saved; the next start takes longer");
        }
    }
}

impl Answer {
    fn at(start: usize, record: &Record) -> Self {
        Self { start, len: record.tokens.len(), seconds: record.seconds }
    }

    fn of<'a>(&self, index: &'a SuffixIndex) -> &'a [u32] {
        &index.tokens()[self.start..self.start + self.len]
    }
}
