//! Keys of providers that a person gave to Kapell: one file, encrypted, for its owner only; profiles by providers.
//!
//! Sealed with AES-256-GCM under a key that Argon2id derives from a passphrase (KAPELL_PASSPHRASE), or else from this
//! machine and this user: then it keeps the keys from backups and other machines, not from programs of the same user.
//! Values leave it for requests' headers only. Start at [`Vault::read`].

use crate::home::create_private;
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
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    v: u32,
    salt: Vec<u8>,
    nonce: Vec<u8>,
    sealed: Vec<u8>,
}

impl Vault {
    /// In this directory.
    pub(crate) fn new(data: &Path, passphrase: Option<String>) -> Self {
        Self { path: data.join("credentials"), passphrase: passphrase.filter(|it| !it.is_empty()) }
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

    /// Replaces everything in it: the old file stands until the new one is whole.
    pub(crate) fn write(&self, keys: &Keys) -> Result<(), Fault> {
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
            .hash_password_into(self.secret().as_bytes(), salt, &mut key)
            .map_err(|error| self.fault(&error.to_string()))?;
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| self.fault("its key cannot be made"))?;
        Ok(LessSafeKey::new(key))
    }

    fn secret(&self) -> String {
        if let Some(passphrase) = &self.passphrase {
            return format!("passphrase\0{passphrase}");
        }
        let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
        let machine = machine.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        format!("machine\0{}\0{}", machine.trim(), rustix::process::getuid().as_raw())
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

    #[test]
    fn keys_come_back_only_with_what_sealed_them() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path(), Some("open sesame".into()));
        assert_eq!(vault.read().unwrap(), Keys::new());
        let keys =
            Keys::from([("work".into(), BTreeMap::from([("ours".into(), "sk-a-very-secret-key".into())]))]);
        vault.write(&keys).unwrap();
        assert_eq!(vault.read().unwrap(), keys);
        let bytes = std::fs::read(vault.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("secret"));
        assert_eq!(std::fs::metadata(vault.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let other = Vault::new(dir.path(), None);
        assert_eq!(other.read().unwrap_err().code, "credentials-locked");
        for at in [bytes.len() / 2, bytes.len() - 5] {
            let mut damaged = bytes.clone();
            damaged[at] = if damaged[at] == b'1' { b'2' } else { b'1' };
            std::fs::write(vault.path(), damaged).unwrap();
            assert!(vault.read().is_err());
        }
    }
}
