use std::pin::Pin;

use domain::command::{Command, Expect, Reply};
use domain::id::{Name, ReviewId};
use domain::review::{Item, Review, report};
use futures_util::Stream;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone, numbered};
use crate::call::Call;
use crate::convert::fields::collect;
use crate::convert::review::{decide, item_to_wire, open, to_wire};
use crate::convert::trigger;
use crate::limits;

#[tonic::async_trait]
impl pb::reviews_server::Reviews for Api {
    async fn open_review(&self, request: Request<pb::OpenReviewRequest>) -> Result<Response<pb::Review>, Status> {
        let (call, message) = self.enter(request)?;
        let command = match collect(|f| open(f, &message.name, message.terms)) {
            Ok(command) => command,
            Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
        };
        let done = call.submit(&message.request_id, "terms", command).await?;
        let Reply::Review(id) = done.reply else { return Err(gone("the review")) };
        let opened = done.state.reviews.get(&id).ok_or_else(|| gone(id))?;
        call.answer(&done.state, to_wire(opened))
    }

    async fn get_review(&self, request: Request<pb::GetReviewRequest>) -> Result<Response<pb::Review>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.id)?;
        if !sees(&call, &review) {
            return Err(call.may(review.name.as_str()).err().unwrap_or_else(|| gone(review.id)));
        }
        call.answer(&call.unfiltered(), to_wire(&review))
    }

    async fn list_reviews(&self, request: Request<pb::ListReviewsRequest>) -> Result<Response<pb::ListReviewsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        // Those one may read, and those one is to decide in: for a caller without any right a short list, not a refusal.
        let wanted = state.reviews.values().filter(|r| (message.all || !r.is_closed()) && sees(&call, r));
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: message.all.to_string() };
        let (page, next_page_token) = self.page(&call, &ask, wanted.collect(), |r| numbered(r.id.0))?;
        call.answer(&state, pb::ListReviewsResponse { reviews: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn list_review_items(
        &self,
        request: Request<pb::ListReviewItemsRequest>,
    ) -> Result<Response<pb::ListReviewItemsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.review)?;
        let state = call.unfiltered();
        let all = call.has_right(&state, review.name.as_str()) && !message.mine;
        let wanted = state.items_of(review.id).filter(|(number, item)| {
            (all || state.may_review(call.me(), &review, *number, item).is_ok())
                && (!message.undecided || state.standing(&review, *number, item).is_undecided())
        });
        let window = collect(|f| f.span("window", message.window.as_ref()))?.unwrap_or(limits::RECOMMENDATION_WINDOW);
        let filter = format!("{}\0{}\0{}", review.id, message.mine, message.undecided);
        let ask = Ask { size: message.page_size, token: &message.page_token, filter };
        let (page, next_page_token) = self.page(&call, &ask, wanted.collect::<Vec<(u32, &Item)>>(), |(n, _)| numbered((*n).into()))?;
        let items = page.into_iter().map(|(number, item)| item_to_wire(&state, &review, number, item, window)).collect();
        call.answer(&state, pb::ListReviewItemsResponse { items, next_page_token })
    }

    async fn decide_review_items(
        &self,
        request: Request<pb::DecideReviewItemsRequest>,
    ) -> Result<Response<pb::DecideReviewItemsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.review)?.id;
        let decisions = collect(|f| {
            let read: Vec<_> = message.decisions.into_iter().enumerate().map(|(place, decision)| decide(f, place, decision)).collect();
            read.into_iter().collect::<Option<Vec<_>>>()
        })?;
        let done = call.submit(&message.request_id, "", Command::DecideItems { review, decisions }).await?;
        let review = done.state.reviews.get(&review).map(to_wire);
        call.answer(&done.state, pb::DecideReviewItemsResponse { review, receipt: done.receipt })
    }

    async fn hand_review_items(&self, request: Request<pb::HandReviewItemsRequest>) -> Result<Response<pb::Review>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.review)?.id;
        let to = collect(|f| f.parse::<Name>("to", &message.to))?;
        let command = Command::HandItems { review, items: message.items, to, reason: message.reason };
        let done = call.submit(&message.request_id, "", command).await?;
        let handed = done.state.reviews.get(&review).ok_or_else(|| gone(review))?;
        call.answer(&done.state, to_wire(handed))
    }

    async fn close_review(&self, request: Request<pb::CloseReviewRequest>) -> Result<Response<pb::Review>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.review)?;
        call.may(review.name.as_str())?;
        let digest = collect(|f| f.digest("digest", &message.digest).and_then(|digest| f.present("digest", digest)))?;
        let command = Command::CloseReview { review: review.id, digest, statement: message.statement, ends_series: message.ends_series };
        let done = call.submit(&message.request_id, "", command).await?;
        let closed = done.state.reviews.get(&review.id).ok_or_else(|| gone(review.id))?;
        call.answer(&done.state, to_wire(closed))
    }

    type ExportReviewStream = Pin<Box<dyn Stream<Item = Result<pb::ExportReviewResponse, Status>> + Send>>;

    async fn export_review(&self, request: Request<pb::ExportReviewRequest>) -> Result<Response<Self::ExportReviewStream>, Status> {
        let (call, message) = self.enter(request)?;
        let review = find(&call, &message.id)?;
        let state = call.may(review.name.as_str())?;
        let text = report(&state, &review).into_bytes();
        let parts: Vec<_> = text.chunks(limits::REPORT_PART).map(|part| Ok(pb::ExportReviewResponse { data: part.to_vec() })).collect();
        let stream: Self::ExportReviewStream = Box::pin(tokio_stream::iter(parts));
        call.answer(&state, stream)
    }

    async fn put_review_trigger(&self, request: Request<pb::PutReviewTriggerRequest>) -> Result<Response<pb::ReviewTrigger>, Status> {
        let (call, message) = self.enter(request)?;
        let asked = message.trigger.unwrap_or_default();
        call.may(&asked.name)?;
        let name = collect(|f| f.parse::<Name>("trigger.name", &asked.name))?;
        let command = collect(|f| {
            let expect = if message.etag.is_empty() { Some(Expect::Absent) } else { f.etag("etag", &message.etag) };
            trigger::put(f, asked, expect)
        })?;
        let done = call.submit(&message.request_id, "trigger", command).await?;
        let put = done.state.triggers.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, trigger::to_wire(put))
    }

    async fn get_review_trigger(&self, request: Request<pb::GetReviewTriggerRequest>) -> Result<Response<pb::ReviewTrigger>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.triggers.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, trigger::to_wire(found))
    }

    async fn list_review_triggers(
        &self,
        request: Request<pb::ListReviewTriggersRequest>,
    ) -> Result<Response<pb::ListReviewTriggersResponse>, Status> {
        let (call, pb::ListReviewTriggersRequest {}) = self.enter(request)?;
        let state = call.may("*")?;
        // Bounded by the state itself: there is no second page.
        call.answer(&state, pb::ListReviewTriggersResponse { triggers: state.triggers.values().map(trigger::to_wire).collect() })
    }

    async fn delete_review_trigger(
        &self,
        request: Request<pb::DeleteReviewTriggerRequest>,
    ) -> Result<Response<pb::DeleteReviewTriggerResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteTrigger { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteReviewTriggerResponse {})
    }
}

/// By right, or because there is something in it to decide for the caller.
fn sees(call: &Call, review: &Review) -> bool {
    let state = call.unfiltered();
    call.has_right(&state, review.name.as_str())
        || state.items_of(review.id).any(|(number, item)| state.may_review(call.me(), review, number, item).is_ok())
}

fn find(call: &Call, id: &str) -> Result<Review, Status> {
    let id = match collect(|f| f.parse::<ReviewId>("id", id)) {
        Ok(id) => id,
        Err(fault) => return Err(call.may("*").err().unwrap_or(fault)),
    };
    match call.unfiltered().reviews.get(&id) {
        Some(review) => Ok(review.clone()),
        None => Err(call.may("*").err().unwrap_or_else(|| gone(id))),
    }
}
