//! The nouns of the API as commands: one file each, from what was typed to requests and back to what is printed.

pub(crate) mod agent;
pub(crate) mod break_glass;
pub(crate) mod cluster;
pub(crate) mod credential;
pub(crate) mod grant;
pub(crate) mod hold;
pub(crate) mod job;
pub(crate) mod lock;
pub(crate) mod person;
pub(crate) mod policy;
pub(crate) mod principal;
pub(crate) mod receipt;
pub(crate) mod request;
pub(crate) mod retention;
pub(crate) mod review;
pub(crate) mod role;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod sink;
pub(crate) mod target;
pub(crate) mod token;
pub(crate) mod witness;

/// Asks for page after page of a list and gives all items.
macro_rules! all_pages {
    ($client:ident, $module:ident :: $service:ident, $method:ident, $request:expr, $items:ident) => {{
        let mut request = $request;
        let mut all = Vec::new();
        loop {
            request.page_size = 1000;
            let page = $crate::client::rpc!($client.ask, $module::$service, $method, request.clone())?;
            all.extend(page.$items);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        all
    }};
}
pub(crate) use all_pages;

/// A name as an argument.
#[derive(Debug, Clone, clap::Args)]
pub struct NameArg {
    pub(crate) name: String,
}

#[derive(Debug, Clone, clap::Args)]
pub struct DeleteArgs {
    pub(crate) name: String,
    /// Only if it is still at this version.
    #[arg(long, value_name = "VERSION")]
    pub(crate) etag: Option<String>,
}
