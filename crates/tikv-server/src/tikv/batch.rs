//! Many commands on one stream: each is carried out by itself, and answered when it is done.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use ilmenite_proto::tikvpb::batch_commands_request::{Request, request::Cmd};
use ilmenite_proto::tikvpb::batch_commands_response::{Response, response};
use ilmenite_proto::tikvpb::{BatchCommandsRequest, BatchCommandsResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{locks, read, txn};
use crate::call::TikvService;

/// Commands of one stream under way; those beyond wait, and the client with them.
const MAX_IN_FLIGHT: usize = 2048;
/// Answers sent together, at most.
const MAX_GROUP: usize = 128;

pub(super) fn serve(
    service: TikvService,
    mut requests: Streaming<BatchCommandsRequest>,
) -> Pin<Box<dyn Stream<Item = Result<BatchCommandsResponse, Status>> + Send>> {
    let (answers, done) = mpsc::channel(MAX_GROUP);
    let room = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    // Ends with the client's stream; commands under way still end, and find nobody to answer to.
    tokio::spawn(async move {
        while let Ok(Some(batch)) = requests.message().await {
            for (request, id) in batch.requests.into_iter().zip(batch.request_ids) {
                let Ok(permit) = room.clone().acquire_owned().await else {
                    return;
                };
                let (service, answers) = (service.clone(), answers.clone());
                tokio::spawn(async move {
                    let answer = carry_out(&service, request).await;
                    // Nobody waits for it any more.
                    let _ = answers.send(answer.map(|cmd| (id, cmd))).await;
                    drop(permit);
                });
            }
            if answers.is_closed() {
                return;
            }
        }
    });
    let groups = ReceiverStream::new(done).ready_chunks(MAX_GROUP).map(|group| {
        let mut out = BatchCommandsResponse::default();
        for answer in group {
            let (id, cmd) = answer?;
            out.request_ids.push(id);
            out.responses.push(Response { cmd });
        }
        Ok(out)
    });
    Box::pin(groups)
}

/// A failed call has no answer of its own here: the stream ends with it.
async fn carry_out(s: &TikvService, request: Request) -> Result<Option<response::Cmd>, Status> {
    use response::Cmd as Done;
    let Some(cmd) = request.cmd else {
        // A command we do not know, which the client must not wait for.
        return Err(Status::unimplemented("an unknown command"));
    };
    Ok(Some(match cmd {
        Cmd::Get(r) => Done::Get(s.serve(r, read::get).await?),
        Cmd::Scan(r) => Done::Scan(s.serve(r, read::scan).await?),
        Cmd::BatchGet(r) => Done::BatchGet(s.serve(r, read::batch_get).await?),
        Cmd::Prewrite(r) => Done::Prewrite(s.serve(r, txn::prewrite).await?),
        Cmd::Commit(r) => Done::Commit(s.serve(r, txn::commit).await?),
        Cmd::BatchRollback(r) => Done::BatchRollback(s.serve(r, txn::rollback).await?),
        Cmd::ScanLock(r) => Done::ScanLock(s.serve(r, locks::scan).await?),
        Cmd::ResolveLock(r) => Done::ResolveLock(s.serve(r, txn::resolve).await?),
        Cmd::PessimisticLock(r) => Done::PessimisticLock(s.serve(r, locks::lock).await?),
        Cmd::PessimisticRollback(r) => Done::PessimisticRollback(s.serve(r, locks::unlock).await?),
        Cmd::CheckTxnStatus(r) => Done::CheckTxnStatus(s.serve(r, txn::check_status).await?),
        Cmd::TxnHeartBeat(r) => Done::TxnHeartBeat(s.serve(r, locks::heart_beat).await?),
        Cmd::CheckSecondaryLocks(r) => Done::CheckSecondaryLocks(s.serve(r, txn::check_secondaries).await?),
    }))
}
