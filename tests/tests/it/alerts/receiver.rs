//! A receiver of webhooks: a small HTTP server that does as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// With this status.
    Status(u16),
    /// With this status and this header.
    With(u16, &'static str),
    /// Not at all: the connection stays open.
    Silence,
    /// By closing the connection before anything is read.
    Down,
}

#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Such as `POST /hook HTTP/1.1`.
    pub(super) line: String,
    /// By their names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    otherwise: Option<Answer>,
    requests: Vec<Request>,
}

/// Answers as the script says, then with the last answer again and again.
pub(super) struct Receiver {
    pub(super) url: String,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub(super) async fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let script = Arc::new(Mutex::new(Script::default()));
        let receiver = Self { url, script: Arc::clone(&script) };
        receiver.answer(answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script)));
            }
        });
        receiver
    }

    /// Goes on with these answers.
    pub(super) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        let mut script = self.script.lock().expect("lock");
        script.answers = answers.into_iter().collect();
        script.otherwise = script.answers.back().copied();
    }

    /// What has been received so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.script.lock().expect("lock").requests.clone()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let answer = {
        let mut script = script.lock().expect("lock");
        script.answers.pop_front().or(script.otherwise).expect("an answer")
    };
    if matches!(answer, Answer::Down) {
        return;
    }
    let Some(request) = read(&mut stream).await else { return };
    script.lock().expect("lock").requests.push(request);
    let (status, header) = match answer {
        Answer::Status(status) => (status, "x-none: 1"),
        Answer::With(status, header) => (status, header),
        Answer::Silence | Answer::Down => return std::future::pending().await,
    };
    let answer =
        format!("HTTP/1.1 {status} Answer\r\ncontent-length: 0\r\nconnection: close\r\n{header}\r\n\r\n");
    _ = stream.write_all(answer.as_bytes()).await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let (head, rest) = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8(bytes[..end].to_vec()).ok()?, bytes[end + 4..].to_vec());
        }
        match stream.read(&mut buffer).await.ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&buffer[..n]),
        }
    };
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = rest;
    let missing = headers.get("content-length")?.parse::<usize>().ok()?.checked_sub(body.len())?;
    let mut others = vec![0; missing];
    stream.read_exact(&mut others).await.ok()?;
    body.extend(others);
    Some(Request { line, headers, body })
}
