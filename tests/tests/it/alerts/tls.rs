//! A server whose certificate nobody has signed but itself.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Answers every request with 200.
pub(super) struct SelfSigned {
    pub(super) port: u16,
    certificate: CertificateDer<'static>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl SelfSigned {
    pub(super) async fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .expect("a server");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let server = Self { port, certificate, seen: Arc::clone(&seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let what = match serve(&acceptor, stream).await {
                    Ok(line) => line,
                    Err(error) => error.to_string(),
                };
                seen.lock().expect("lock").push(what);
            }
        });
        server
    }

    /// The first line of each request, or why there was none.
    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("lock").clone()
    }

    /// What a client gets that trusts this very certificate.
    pub(super) async fn trusted(&self) -> String {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("a connection");
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(name, stream).await.expect("the certificate is in order");
        stream.write_all(b"GET /control HTTP/1.1\r\n\r\n").await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

async fn serve(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<String> {
    let mut stream = acceptor.accept(stream).await?;
    let mut buffer = [0; 4096];
    let read = stream.read(&mut buffer).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
    stream.shutdown().await?;
    let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
