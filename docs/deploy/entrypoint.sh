#!/bin/sh
# Writes a configuration at the first start, then runs the command given.
set -eu

if [ "${1:-daemon}" = daemon ] && [ ! -e "$IPFS_CLUSTER_PATH/service.json" ]; then
    # Reached from other containers; say otherwise with these variables.
    export CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS="${CLUSTER_RESTAPI_HTTPLISTENMULTIADDRESS:-/ip4/0.0.0.0/tcp/9094}"
    export CLUSTER_IPFSPROXY_LISTENMULTIADDRESS="${CLUSTER_IPFSPROXY_LISTENMULTIADDRESS:-/ip4/0.0.0.0/tcp/9095}"
    export CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS="${CLUSTER_PINSVCAPI_HTTPLISTENMULTIADDRESS:-/ip4/0.0.0.0/tcp/9097}"
    ipfs-cluster-service init --ipfs "${IPFS_CLUSTER_IPFS:-http}"
fi
exec ipfs-cluster-service "$@"
