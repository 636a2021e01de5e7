//! Secure connections of one's own: an authority that only the configuration knows, and a certificate to show.
//!
//! The certificates in `tests/tls` were made for these tests and are good for nothing else. Start at [`server`].

use super::tests::{END, HEAD, HELLO, START, asked_with};
use crate::settings::Declared;
use contract::Kind;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A server whose certificate is the tests' own authority's; does it want to see one too?
async fn server(wants_certificate: bool) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match wants_certificate {
        false => builder.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(file("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            drop(socket.read(&mut [0; 8192]).await);
            drop(socket.write_all([HEAD, START, HELLO, END].concat().as_bytes()).await);
            drop(socket.shutdown().await);
        }
    });
    url
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_where_it_is_declared() {
    let url = server(false).await;
    let trusting = Declared { ca_file: Some(file("ca.pem")), ..Declared::default() };
    assert_eq!(asked_with(&url, trusting).await.unwrap().text, "hello");
    let broken = asked_with(&url, Declared::default()).await.unwrap_err();
    assert_eq!((broken.fault.code.as_str(), broken.fault.kind), ("tls-failed", Kind::UserFixable));
    assert!(broken.fault.hint.contains("ca_file"), "{}", broken.fault);
}

#[tokio::test]
async fn a_certificate_is_shown_to_who_wants_one() {
    let url = server(true).await;
    let trusting = Declared { ca_file: Some(file("ca.pem")), ..Declared::default() };
    let broken = asked_with(&url, trusting.clone()).await.unwrap_err();
    assert_eq!(broken.fault.code, "tls-failed", "{}", broken.fault);
    let key = Some(file("client.key"));
    let showing = Declared { client_cert: Some(file("client.pem")), client_key: key, ..trusting.clone() };
    assert_eq!(asked_with(&url, showing).await.unwrap().text, "hello");
    let useless = Declared { client_cert: Some(file("ca.pem")), ..trusting };
    let broken = asked_with(&url, useless).await.unwrap_err();
    assert_eq!(broken.fault.code, "bad-config", "{}", broken.fault);
}
