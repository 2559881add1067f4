//! Negotiation of the protocols served: the stream comes out with the protocol it is for.

use std::{convert::Infallible, future, iter};

use libp2p::{
    Stream, StreamProtocol,
    core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
};

use crate::net::proto::Proto;

/// Offers these protocols.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Offer(pub(super) &'static [Proto]);

/// One protocol's name, with what it stands for.
#[derive(Debug, Clone)]
pub(in crate::net) struct Named(Proto, StreamProtocol);

impl AsRef<str> for Named {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

fn named(proto: Proto) -> Named {
    Named(proto, proto.stream_protocol())
}

impl UpgradeInfo for Offer {
    type Info = Named;
    type InfoIter = iter::Map<iter::Copied<std::slice::Iter<'static, Proto>>, fn(Proto) -> Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().copied().map(named)
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Proto, Stream);
    type Error = Infallible;
    type Future = future::Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, name: Named) -> Self::Future {
        future::ready(Ok((name.0, stream)))
    }
}

/// Asks for one protocol.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct Ask(pub(super) Proto);

impl UpgradeInfo for Ask {
    type Info = Named;
    type InfoIter = iter::Once<Named>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(named(self.0))
    }
}

impl OutboundUpgrade<Stream> for Ask {
    type Output = Stream;
    type Error = Infallible;
    type Future = future::Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: Named) -> Self::Future {
        future::ready(Ok(stream))
    }
}
