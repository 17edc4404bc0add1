//! Where the pieces go. All of it blocks.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use flate2::CrcReader;
use greenroom::EventError;
use serde::Serialize;

const LARGEST_FILE: u64 = 100 << 20;
const LARGEST_PIECE: usize = 64 << 10;
const MOST_UPLOADS: usize = 100;
/// One that has waited so long for its next piece makes way for another when there are too many.
const PATIENCE: Duration = Duration::from_secs(600);

/// A file that has come.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Summary {
    name: String,
    size: u64,
    /// CRC-32 of its content, as `cksum -a crc32b` prints it.
    crc32: String,
}

struct Upload {
    name: String,
    size: u64,
    there: u64,
    touched: Instant,
}

#[derive(Clone)]
pub(crate) struct Files {
    folder: Arc<PathBuf>,
    /// Held for a look at an entry and never while a file is written.
    uploads: Arc<Mutex<HashMap<String, Upload>>>,
}

impl Files {
    pub(crate) fn in_folder(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self { folder: Arc::new(folder), uploads: Arc::default() })
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, Upload>) -> T) -> T {
        look(&mut self.uploads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Never by the name that the client gave: that may be `../../etc/passwd`.
    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.part"))
    }

    pub(crate) fn begin(&self, name: &str, size: u64) -> Result<String, EventError> {
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(100).collect();
        if name.is_empty() || size == 0 || size > LARGEST_FILE {
            return Err(EventError::new("a file has a name and 1 byte to 100 MB"));
        }
        let key = format!("{:032x}", rand::random::<u128>());
        let upload = Upload { name, size, there: 0, touched: Instant::now() };
        let (added, given_up) = self.with(|uploads| {
            let mut given_up = Vec::new();
            if uploads.len() >= MOST_UPLOADS {
                let old = uploads.extract_if(|_, upload| upload.touched.elapsed() > PATIENCE);
                given_up.extend(old.map(|(key, _)| key));
            }
            let room = uploads.len() < MOST_UPLOADS;
            (room.then(|| uploads.insert(key.clone(), upload)), given_up)
        });
        for old in given_up {
            fs::remove_file(self.path(&old))?;
        }
        added.ok_or_else(|| EventError::new("too many uploads at the same time"))?;
        File::create(self.path(&key))?;
        Ok(key)
    }

    pub(crate) fn length(&self, key: &str) -> Result<u64, EventError> {
        self.with(|uploads| uploads.get(key).map(|upload| upload.there)).ok_or_else(unknown)
    }

    pub(crate) fn write(&self, key: &str, at: u64, bytes: &[u8]) -> Result<u64, EventError> {
        let known = self.with(|uploads| uploads.get(key).map(|upload| (upload.size, upload.there)));
        let (size, there) = known.ok_or_else(unknown)?;
        if at != there {
            return Err(EventError::new("that piece is not the next one").data(&there));
        }
        let end = there + bytes.len() as u64;
        if bytes.is_empty() || bytes.len() > LARGEST_PIECE || end > size {
            return Err(EventError::new(
                "a piece has 1 byte to 64 kB, and ends where the file ends",
            ));
        }
        let mut file = OpenOptions::new().write(true).open(self.path(key))?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        self.with(|uploads| {
            if let Some(upload) = uploads.get_mut(key) {
                upload.there = end;
                upload.touched = Instant::now();
            }
        });
        Ok(end)
    }

    pub(crate) fn finish(&self, key: &str) -> Result<Summary, EventError> {
        let done = self.with(|uploads| match uploads.get(key) {
            Some(upload) if upload.there == upload.size => Ok(uploads.remove(key)),
            Some(_) => Err(EventError::new("the file is not complete")),
            None => Ok(None),
        })?;
        let upload = done.ok_or_else(unknown)?;
        let mut content = CrcReader::new(File::open(self.path(key))?);
        io::copy(&mut content, &mut io::sink())?;
        let crc32 = format!("{:08x}", content.crc().sum());
        fs::rename(self.path(key), self.folder.join(key))?;
        Ok(Summary { name: upload.name, size: upload.size, crc32 })
    }
}

fn unknown() -> EventError {
    EventError::new("there is no such upload")
}
