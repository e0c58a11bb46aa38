use domain::command::{Command, Expect};
use domain::id::Name;
use proto::admin as pb;
use tonic::{Request, Response, Status};

use super::{Api, Ask, gone};
use crate::convert::fields::collect;
use crate::convert::job::{put, to_wire};

#[tonic::async_trait]
impl pb::jobs_server::Jobs for Api {
    async fn create_job(&self, request: Request<pb::CreateJobRequest>) -> Result<Response<pb::Job>, Status> {
        let (call, message) = self.enter(request)?;
        let job = message.job.unwrap_or_default();
        call.may(&job.name)?;
        let name = collect(|f| f.parse::<Name>("job.name", &job.name))?;
        let command = collect(|f| put(f, job, Some(Expect::Absent)))?;
        let done = call.submit(&message.request_id, "job", command).await?;
        let made = done.state.jobs.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&done.state, to_wire(made))
    }

    async fn get_job(&self, request: Request<pb::GetJobRequest>) -> Result<Response<pb::Job>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.may(&message.name)?;
        let name = collect(|f| f.parse::<Name>("name", &message.name))?;
        let found = state.jobs.get(&name).ok_or_else(|| gone(&name))?;
        call.answer(&state, to_wire(found))
    }

    async fn list_jobs(&self, request: Request<pb::ListJobsRequest>) -> Result<Response<pb::ListJobsResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let state = call.unfiltered();
        let seen = call.visible(state.jobs.values().collect(), |job| job.name.to_string())?;
        let ask = Ask { size: message.page_size, token: &message.page_token, filter: String::new() };
        let (page, next_page_token) = self.page(&call, &ask, seen, |job| job.name.to_string())?;
        call.answer(&state, pb::ListJobsResponse { jobs: page.into_iter().map(to_wire).collect(), next_page_token })
    }

    async fn update_job(&self, request: Request<pb::UpdateJobRequest>) -> Result<Response<pb::UpdateJobResponse>, Status> {
        let (call, message) = self.enter(request)?;
        let job = message.job.unwrap_or_default();
        call.may(&job.name)?;
        let name = collect(|f| f.parse::<Name>("job.name", &job.name))?;
        let command = collect(|f| {
            let expect = f.etag("job.etag", &job.etag);
            put(f, job, expect)
        })?;
        let done = call.submit(&message.request_id, "job", command).await?;
        let job = done.state.jobs.get(&name).map(to_wire);
        call.answer(&done.state, pb::UpdateJobResponse { job, receipt: done.receipt })
    }

    async fn delete_job(&self, request: Request<pb::DeleteJobRequest>) -> Result<Response<pb::DeleteJobResponse>, Status> {
        let (call, message) = self.enter(request)?;
        call.may(&message.name)?;
        let command = collect(|f| {
            let name = f.parse("name", &message.name);
            let expect = f.etag_optional("etag", &message.etag);
            Some(Command::DeleteJob { name: name?, expect: expect? })
        })?;
        let done = call.submit(&message.request_id, "", command).await?;
        call.answer(&done.state, pb::DeleteJobResponse { receipt: done.receipt })
    }
}
