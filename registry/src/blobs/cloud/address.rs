//! Which bucket, and how to reach it: `s3://BUCKET/PREFIX?endpoint=…`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX`.

use std::sync::Arc;

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;

use super::{Bucket, Cloud, Patience, PatientConnector};

/// Why a storage URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// It is not of the form that is asked for.
    #[error(
        "the storage {url:?} {problem}; expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"
    )]
    Malformed {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings and the environment's variables do not make a client.
    #[error("the storage {url:?} cannot be used: {source}")]
    Unusable {
        /// The URL.
        url: String,
        /// What is missing or wrong.
        source: object_store::Error,
    },
}

/// A URL's parts.
#[derive(Debug, PartialEq, Eq)]
struct Address<'a> {
    scheme: &'a str,
    bucket: &'a str,
    prefix: &'a str,
    endpoint: Option<&'a str>,
    region: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or("has no scheme")?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            return Err("names no bucket".to_owned());
        }
        let mut address = Self {
            scheme,
            bucket,
            prefix,
            endpoint: None,
            region: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("endpoint", endpoint)) => address.endpoint = Some(endpoint),
                Some(("region", region)) if scheme == "s3" => address.region = Some(region),
                _ => return Err(format!("has a query that {scheme}:// does not know: {pair:?}")),
            }
        }
        Ok(address)
    }
}

impl Cloud {
    /// Makes a client of the bucket that `url` names. Credentials come from the environment's usual variables.
    ///
    /// Reaches out to nobody; [`ready`](super::super::Blobs::ready) does.
    ///
    /// # Errors
    /// The URL has another form, or the client cannot be made of it and the environment.
    pub fn open(url: &str) -> Result<Self, AddressError> {
        let malformed = |problem: String| AddressError::Malformed {
            url: url.to_owned(),
            problem,
        };
        let address = Address::parse(url).map_err(malformed)?;
        let prefix = Path::parse(address.prefix).map_err(|error| malformed(error.to_string()))?;
        let bucket =
            client(&address, PatientConnector(Patience::default())).map_err(|error| match error {
                ClientError::Scheme => malformed(format!("has the unknown scheme {:?}", address.scheme)),
                ClientError::Unusable(source) => AddressError::Unusable {
                    url: url.to_owned(),
                    source,
                },
            })?;
        Ok(Self::new(bucket, prefix))
    }
}

/// Why there is no client.
enum ClientError {
    Scheme,
    Unusable(object_store::Error),
}

impl From<object_store::Error> for ClientError {
    fn from(error: object_store::Error) -> Self {
        Self::Unusable(error)
    }
}

fn client(address: &Address<'_>, connector: PatientConnector) -> Result<Arc<dyn Bucket>, ClientError> {
    let http = address
        .endpoint
        .is_some_and(|endpoint| endpoint.starts_with("http://"));
    Ok(match address.scheme {
        "s3" => {
            let mut builder = AmazonS3Builder::from_env()
                .with_bucket_name(address.bucket)
                .with_retry(connector.retry())
                .with_http_connector(connector);
            if let Some(endpoint) = address.endpoint {
                builder = builder.with_endpoint(endpoint).with_allow_http(http);
            }
            if let Some(region) = address.region {
                builder = builder.with_region(region);
            }
            Arc::new(builder.build()?)
        }
        "gs" => {
            let mut builder = GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(address.bucket)
                .with_retry(connector.retry())
                .with_http_connector(connector);
            if let Some(endpoint) = address.endpoint {
                let allow_http = GoogleConfigKey::Client(ClientConfigKey::AllowHttp);
                builder = builder
                    .with_base_url(endpoint)
                    .with_config(allow_http, http.to_string());
            }
            Arc::new(builder.build()?)
        }
        "az" => {
            let mut builder = MicrosoftAzureBuilder::from_env()
                .with_container_name(address.bucket)
                .with_retry(connector.retry())
                .with_http_connector(connector);
            if let Some(endpoint) = address.endpoint {
                builder = builder.with_endpoint(endpoint.to_owned()).with_allow_http(http);
            }
            Arc::new(builder.build()?)
        }
        _ => return Err(ClientError::Scheme),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_falls_into_its_parts() {
        let address = Address::parse("s3://b/p/q?endpoint=http://h:9000&region=eu").unwrap();
        let (endpoint, region) = (Some("http://h:9000"), Some("eu"));
        assert_eq!(
            address,
            Address {
                scheme: "s3",
                bucket: "b",
                prefix: "p/q",
                endpoint,
                region
            }
        );
        let bare = Address::parse("az://c").unwrap();
        assert_eq!(
            bare,
            Address {
                scheme: "az",
                bucket: "c",
                prefix: "",
                endpoint: None,
                region: None
            }
        );
    }

    #[test]
    fn another_url_is_refused_with_what_is_wrong() {
        for (url, problem) in [
            ("bucket", "has no scheme"),
            ("s3:///p", "names no bucket"),
            ("s3://b?acl=open", "acl=open"),
            ("gs://b?region=eu", "region"),
            ("ftp://b/p", "ftp"),
            ("s3://b/../p", ".."),
        ] {
            let refused = Cloud::open(url).unwrap_err().to_string();
            assert!(refused.contains(problem) && refused.contains(url), "{refused}");
        }
    }
}
