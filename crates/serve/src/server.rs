//! The server: listens, opens models, hands connections to tasks, and goes when it is told to.

use crate::error::Error;
use crate::event::Event;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::options::{Options, Served};
use crate::routes;
use crate::runs::Runs;
use crate::stall::Stalling;
use crate::state::State;
use crate::worker;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The most bytes of a request's headers.
const HEADERS: usize = 16 << 10;
/// Connections that may wait to be taken in: a burst of clients does not wait for a second try.
const BACKLOG: u32 = 1024;
/// Threads that parse, tokenise and compile grammars.
const BLOCKING_THREADS: usize = 4;
/// What requests that were ended have to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// After this, it is tried again to take in a connection: the machine had no file for it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What a model's thread tells the server.
pub(crate) enum Notice {
    Loaded {
        model: String,
        took: Duration,
        bytes: [u64; 2],
    },
    Failed(Error),
}

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    options: Options,
    models: Vec<Served>,
    stop: watch::Sender<bool>,
}

/// Tells a server to stop, from any thread.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// No more requests are taken in; those under way go on for [`Options::drain`].
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// Neither a model nor a folder of runs, two models of one name, an address that others reach without a key, or one that cannot be had.
    pub fn bind(options: Options, models: Vec<Served>) -> Result<Server, Error> {
        if models.is_empty() && options.runs.is_none() {
            return Err(Error::NoModel);
        }
        if !options.host.is_loopback() && options.keys.is_empty() {
            return Err(Error::Open { host: options.host });
        }
        for (index, model) in models.iter().enumerate() {
            if models[..index].iter().any(|other| other.name == model.name) {
                let name = model.name.clone();
                return Err(Error::SameName { name });
            }
        }
        let address = SocketAddr::new(options.host, options.port);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(BLOCKING_THREADS)
            .build()?;
        let listen = || {
            let _inside = runtime.enter();
            let socket = match address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Elsewhere it would let two servers have one address.
            #[cfg(unix)]
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen().map_err(|source| Error::Bind { address, source })?;
        Ok(Server {
            runtime,
            listener,
            address,
            options,
            models,
            stop: watch::Sender::new(false),
        })
    }

    /// Where it listens: with port 0, which port it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Serves until it is stopped, on this thread and one for each model. Until a model is open, requests for it are told to
    /// come again.
    ///
    /// # Errors
    /// A model cannot be opened or finds too little memory, or the machine gives no thread.
    pub fn run(self, on_event: impl Fn(Event) + Send + Sync + 'static) -> Result<(), Error> {
        let (notices, told) = unbounded_channel();
        let models = start(&self.models, &self.options, &notices)?;
        let state = Arc::new(State {
            body_bytes: AtomicUsize::new(0),
            runs: Runs::new(self.options.runs.clone(), &self.models),
            options: self.options,
            models,
            metrics: Metrics::default(),
            on_event: Box::new(on_event),
            draining: AtomicBool::new(false),
            nonce: RandomState::new().hash_one(0),
            serial: AtomicU64::new(0),
        });
        (state.on_event)(Event::Listening(self.address));
        let served = self
            .runtime
            .block_on(serve(&state, self.listener, told, self.stop.subscribe()));
        // A body that is still being parsed keeps nobody from leaving.
        self.runtime.shutdown_background();
        served
    }
}

/// A thread for each model.
fn start(served: &[Served], options: &Options, notices: &UnboundedSender<Notice>) -> Result<Vec<Arc<Model>>, Error> {
    let promised = Arc::new(Mutex::new(0));
    let mut models = Vec::with_capacity(served.len());
    for served in served {
        let (work, received) = mpsc::channel();
        let places = options.max_queue + options.max_concurrent;
        let model = Model::new(served.name.clone(), work, places);
        let (shared, promised) = (model.shared.clone(), promised.clone());
        let (served, options, notices) = (served.clone(), options.clone(), notices.clone());
        let thread = std::thread::Builder::new().name("foretoken-model".into());
        thread.spawn(move || worker::run(served, &options, &shared, &promised, received, notices))?;
        models.push(Arc::new(model));
    }
    Ok(models)
}

async fn serve(
    state: &Arc<State>,
    listener: TcpListener,
    mut told: UnboundedReceiver<Notice>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    let connections = Arc::new(Semaphore::new(state.options.max_connections));
    let graceful = watch::Sender::new(false);
    // Every connection holds one end; when the last has gone, the other end hears it.
    let (open, mut all_gone) = channel::<()>(1);
    loop {
        let next = async {
            let place = connections.clone().acquire_owned().await;
            (listener.accept().await, place.ok())
        };
        tokio::select! {
            (accepted, place) = next => match accepted {
                Ok((stream, peer)) => {
                    let task = connection(state.clone(), stream, peer, graceful.subscribe(), open.clone(), place);
                    tokio::spawn(task);
                }
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
            Some(notice) = told.recv() => notify(state, notice)?,
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    drop(open);
    state.draining.store(true, Ordering::Relaxed);
    let requests = state.metrics.in_flight.load(Ordering::Relaxed) as usize;
    (state.on_event)(Event::Draining { requests });
    graceful.send_replace(true);
    if tokio::time::timeout(state.options.drain, all_gone.recv())
        .await
        .is_err()
    {
        for model in &state.models {
            model.shared.stopping.store(true, Ordering::Relaxed);
        }
        let _ = tokio::time::timeout(LAST_WORDS, all_gone.recv()).await;
    }
    Ok(())
}

fn notify(state: &State, notice: Notice) -> Result<(), Error> {
    match notice {
        Notice::Loaded { model, took, bytes } => (state.on_event)(Event::Loaded { model, took, bytes }),
        Notice::Failed(error) => return Err(error),
    }
    Ok(())
}

/// Serves one client until it leaves, or until the request under way when the server stops is answered.
async fn connection(
    state: Arc<State>,
    stream: TcpStream,
    peer: SocketAddr,
    mut graceful: watch::Receiver<bool>,
    _open: Sender<()>,
    _place: Option<OwnedSemaphorePermit>,
) {
    // A token is a few bytes, and is wanted now.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Stalling::new(stream, state.options.stall_timeout));
    let service = service_fn(|request| {
        let answer = routes::handle(state.clone(), peer, request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(state.options.header_timeout)
        .max_buf_size(HEADERS);
    let mut serving = std::pin::pin!(builder.serve_connection(io, service));
    let stopped = async { graceful.wait_for(|stop| *stop).await.is_ok() };
    tokio::select! {
        // What goes wrong on a connection is its client's affair.
        _ = serving.as_mut() => return,
        _ = stopped => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
