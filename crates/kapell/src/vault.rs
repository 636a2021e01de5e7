//! Keys of providers that a person gave to Kapell: one file, encrypted, for its owner only; profiles by providers.
//!
//! Sealed with AES-256-GCM under a key that Argon2id derives from a passphrase (KAPELL_PASSPHRASE), or else from this
//! machine and this user: then it keeps the keys from backups and other machines, not from programs of the same user. A
//! machine without an id (containers) gets a random one of ours in the state directory.
//! Values leave it for requests' headers only. Start at [`Vault::read`].

use crate::home::{Home, create_private};
use argon2::{Algorithm, Argon2, Params, Version};
use contract::{Fault, Kind};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Memory (KiB), passes and lanes of the derivation (S3.3-1).
const COST: (u32, u32, u32) = (64 * 1024, 1, 4);
const SALT: usize = 16;
const KEY: usize = 32;
/// What every file is bound to.
const ABOUT: &[u8] = b"kapell credentials 1";

/// Profile, provider, key.
pub(crate) type Keys = BTreeMap<String, BTreeMap<String, String>>;

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    path: PathBuf,
    passphrase: Option<String>,
    /// Files that may hold the machine's id.
    ids: Vec<PathBuf>,
    /// What stands in for it.
    seed: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    v: u32,
    salt: Vec<u8>,
    nonce: Vec<u8>,
    sealed: Vec<u8>,
}

impl Vault {
    /// In the data directory.
    pub(crate) fn new(home: &Home, passphrase: Option<String>) -> Self {
        Self {
            path: home.data.join("credentials"),
            passphrase: passphrase.filter(|it| !it.is_empty()),
            ids: ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(PathBuf::from).to_vec(),
            seed: home.state.join("machine-seed"),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Everything in it.
    pub(crate) fn read(&self) -> Result<Keys, Fault> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Keys::new()),
            Err(error) => return Err(self.fault(&error.to_string())),
        };
        let Sealed { v: 1, salt, nonce, mut sealed } =
            serde_json::from_slice(&text).map_err(|_| self.fault("it is not one of Kapell's, or damaged"))?
        else {
            return Err(self.fault("it was written by a newer Kapell"));
        };
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| self.fault("it is damaged"))?;
        let plain = self
            .key(&salt)?
            .open_in_place(nonce, Aad::from(ABOUT), &mut sealed)
            .map_err(|_| self.locked())?;
        serde_json::from_slice(plain).map_err(|_| self.fault("it is damaged"))
    }

    /// Changes it; who comes at the same time waits.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Keys) -> T) -> Result<T, Fault> {
        create_private(self.path.parent().unwrap_or(Path::new("/")))?;
        let mut options = std::fs::File::options();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.path.with_extension("lock"));
        // It goes with the file.
        let lock = lock.and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|error| self.fault(&error.to_string()))?;
        let mut keys = self.read()?;
        let changed = change(&mut keys);
        self.write(&keys)?;
        Ok(changed)
    }

    /// Replaces everything in it: the old file stands until the new one is whole.
    fn write(&self, keys: &Keys) -> Result<(), Fault> {
        let (mut salt, mut nonce) = (vec![0; SALT], vec![0; NONCE_LEN]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut salt).and_then(|()| random.fill(&mut nonce));
        filled.map_err(|_| self.fault("there is no randomness"))?;
        let mut sealed = serde_json::to_vec(keys).unwrap_or_default();
        let unique =
            Nonce::try_assume_unique_for_key(&nonce).map_err(|_| self.fault("there is no randomness"))?;
        let key = self.key(&salt)?;
        key.seal_in_place_append_tag(unique, Aad::from(ABOUT), &mut sealed)
            .map_err(|_| self.fault("it cannot be sealed"))?;
        let text = serde_json::to_vec(&Sealed { v: 1, salt, nonce, sealed }).unwrap_or_default();
        create_private(self.path.parent().unwrap_or(Path::new("/")))?;
        let beside = self.path.with_extension(format!("new.{}", std::process::id()));
        let write = || {
            let mut file =
                std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(&text).and_then(|()| file.sync_all())?;
            std::fs::rename(&beside, &self.path)
        };
        write().map_err(|error| self.fault(&error.to_string()))
    }

    fn key(&self, salt: &[u8]) -> Result<LessSafeKey, Fault> {
        let (memory, passes, lanes) = COST;
        let params =
            Params::new(memory, passes, lanes, Some(KEY)).map_err(|error| self.fault(&error.to_string()))?;
        let mut key = [0; KEY];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(self.secret()?.as_bytes(), salt, &mut key)
            .map_err(|error| self.fault(&error.to_string()))?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| self.fault("its key cannot be made"))?;
        Ok(LessSafeKey::new(key))
    }

    fn secret(&self) -> Result<String, Fault> {
        if let Some(passphrase) = &self.passphrase {
            return Ok(format!("passphrase\0{passphrase}"));
        }
        let id = |path: &PathBuf| Some(std::fs::read_to_string(path).ok()?.trim().to_owned());
        // An image that was not started yet says that it is not.
        let id = self.ids.iter().filter_map(id).find(|id| !id.is_empty() && id != "uninitialized");
        let machine = match id {
            Some(id) => id,
            None => self.seeded()?,
        };
        Ok(format!("machine\0{machine}\0{}", rustix::process::getuid().as_raw()))
    }

    /// Without an id of the machine, everybody's would be the same.
    fn seeded(&self) -> Result<String, Fault> {
        if let Ok(seed) = std::fs::read_to_string(&self.seed) {
            return Ok(seed);
        }
        let mut random = [0; KEY];
        SystemRandom::new().fill(&mut random).map_err(|_| self.fault("there is no randomness"))?;
        let seed: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        create_private(self.seed.parent().unwrap_or(Path::new("/")))?;
        let beside = self.seed.with_extension(format!("new.{}", std::process::id()));
        let write = || {
            let mut file =
                std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
            file.write_all(seed.as_bytes()).and_then(|()| file.sync_all())?;
            // Whoever is first made it.
            let linked = std::fs::hard_link(&beside, &self.seed);
            std::fs::remove_file(&beside)?;
            linked.or_else(|error| if self.seed.exists() { Ok(()) } else { Err(error) })?;
            std::fs::read_to_string(&self.seed)
        };
        write().map_err(|error| self.fault(&error.to_string()))
    }

    fn locked(&self) -> Fault {
        let what = format!(
            "the keys in {} cannot be opened here: another machine, user or passphrase",
            self.path.display()
        );
        Fault::new(Kind::UserFixable, "credentials-locked", what).hint(
            "set KAPELL_PASSPHRASE if they were sealed with one; else move the file away and: kapell auth set PROVIDER",
        )
    }

    fn fault(&self, why: &str) -> Fault {
        let what = format!("the keys in {} cannot be used: {why}", self.path.display());
        Fault::new(Kind::UserFixable, "credentials", what)
            .hint("move the file away and: kapell auth set PROVIDER")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn home(dir: &Path) -> Home {
        let [config, data, state, cache] = ["c", "d", "s", "k"].map(|name| dir.join(name));
        Home { config, data, state, cache }
    }

    #[test]
    fn machines_without_an_id_differ_and_changes_wait_for_each_other() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ids = vec![one.path().join("empty"), one.path().join("none")];
        std::fs::write(&ids[0], "uninitialized\n").unwrap();
        let vault = |dir: &Path| Vault { ids: ids.clone(), ..Vault::new(&home(dir), None) };
        let keys = |n: usize| (format!("p{n}"), BTreeMap::from([("ours".to_owned(), "sk-a-key".to_owned())]));
        // Each reads, changes and writes all of it: without a lock some would be lost.
        std::thread::scope(|scope| {
            for n in 0..3 {
                let vault = vault(one.path());
                scope.spawn(move || vault.change(|all| all.extend([keys(n)])).unwrap());
            }
        });
        assert_eq!(vault(one.path()).read().unwrap().len(), 3);
        std::fs::create_dir_all(two.path().join("d")).unwrap();
        std::fs::copy(vault(one.path()).path(), vault(two.path()).path()).unwrap();
        assert_eq!(vault(two.path()).read().unwrap_err().code, "credentials-locked");
    }

    #[test]
    fn keys_come_back_only_with_what_sealed_them() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(&home(dir.path()), Some("open sesame".into()));
        assert_eq!(vault.read().unwrap(), Keys::new());
        let keys =
            Keys::from([("work".into(), BTreeMap::from([("ours".into(), "sk-a-very-secret-key".into())]))]);
        vault.change(|all| all.clone_from(&keys)).unwrap();
        assert_eq!(vault.read().unwrap(), keys);
        let bytes = std::fs::read(vault.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
        assert_eq!(std::fs::metadata(vault.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Vault::new(&home(dir.path()), None);
        assert_eq!(other.read().unwrap_err().code, "credentials-locked");
        for at in [bytes.len() / 2, bytes.len() - 5] {
            let mut damaged = bytes.clone();
            damaged[at] = if damaged[at] == b'1' { b'2' } else { b'1' };
            std::fs::write(vault.path(), damaged).unwrap();
            assert!(vault.read().is_err());
        }
    }
}
