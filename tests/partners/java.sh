#!/usr/bin/env bash
# Runs grpc-java's interoperability cases with grpc-java at both ends: directly, and through a gateway on io_uring and on
# epoll; in plaintext, over TLS and over mutual TLS, towards clients and towards services. And asks with the wrong
# certificates, which has to be refused.
#
#   tests/partners/java.sh [RINGWAY]     the program to ask; target/release/ringway if none is named
#
# Clients use both transports of grpc-java: Netty with BoringSSL, and OkHttp with Java's own TLS. Needs a JDK of version 17 or
# newer, Maven, which brings grpc-java into the cache folder, and openssl. Exit code 0 if all is so, 1 if not, 2 if it cannot
# be tried.
set -euo pipefail
cd "$(dirname "$0")/../.."
ringway=${1:-target/release/ringway}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringway-partners/java
missing() { echo "java: $1" >&2; exit 2; }
[ -x "$ringway" ] || missing "$ringway is not there: cargo build --release"
command -v openssl >/dev/null || missing "openssl is not installed"
. tests/partners/maven.sh
classes tests/partners/java "$cache"

scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT
. tests/partners/certificates.sh

row='%-9s %-44s %-9s %5s %6s'
code=0
# ask cases|refused [WAY CREDENTIALS ADDRESS]...: a row for each way and transport
ask() {
    timeout 600 java "-Drow=$row" -cp "$class_path" Interop "$1" "$scratch" "$where" "${@:2}" \
        </dev/null 2>"$scratch/asked" || { code=1; cat "$scratch/asked" >&2; }
}

mkfifo "$scratch/asks" "$scratch/says"
java -cp "$class_path" Service "$scratch" <"$scratch/asks" >"$scratch/says" 2>"$scratch/service.log" &
exec {asks}>"$scratch/asks" {says}<"$scratch/says"
IFS=' ' read -r -t 60 -u $says -a services || { cat "$scratch/service.log" >&2; missing "grpc-java's service does not start"; }
calls() { # calls: how many have reached the service
    echo >&$asks
    read -r -t 60 -u $says count || { echo "java: the service is gone" >&2; cat "$scratch/service.log" >&2; exit 1; }
    echo "$count"
}
# refused [WAY CREDENTIALS ADDRESS]...: no call may reach the service.
refused() {
    local before after
    before=$(calls)
    ask refused "$@"
    after=$(calls)
    [ "$before" = "$after" ] || { echo "java: $((after - before)) calls reached the service that should not" >&2; code=1; }
}

certificate() { # certificate TABLE NAME
    printf '[[%s.tls_certificates]]\ncertificate_chain = "%s"\nprivate_key = "%s"\n' "$1" "$scratch/$2.crt" "$scratch/$2.key"
}
trusted() { # trusted TABLE AUTHORITY
    printf '[%s.validation_context]\ntrusted_ca = "%s"\n' "$1" "$scratch/$2.pem"
}
listener() { # listener plaintext|TLS|mutual
    printf '[[listeners]]\naddress = "127.0.0.1:0"\n'
    [ "$1" = plaintext ] || printf '[listeners.tls]\nrequire_client_certificate = %s\n' \
        "$([ "$1" = mutual ] && echo true || echo false)"
    [ "$1" = plaintext ] || certificate listeners.tls ecdsa
    [ "$1" != mutual ] || trusted listeners.tls ca
}
# gateway PORT [TABLES]: one with a listener of each kind before the service at this port; their addresses in $listeners
gateway() {
    {
        printf 'workers = 2\n[io]\nbackend = "%s"\n[admin]\naddress = "127.0.0.1:0"\n' "$where"
        listener plaintext
        listener TLS
        listener mutual
        printf '[[routes]]\ncluster = "java"\n[[clusters]]\nname = "java"\nendpoints = ["127.0.0.1:%s"]\n%s\n' "$1" "${2-}"
    } >"$scratch/gateway.toml"
    # The log of the gateway before says that that one is ready.
    rm -f "$scratch/gateway.log"
    "$ringway" run "$scratch/gateway.toml" 2>"$scratch/gateway.log" &
    gateway=$!
    for _ in $(seq 300); do
        if grep -qs ' ready ' "$scratch/gateway.log"; then break; fi
        sleep 0.1
    done
    IFS=' ,' read -r -a listeners <<<"$(sed -n 's/.* ready .*listeners=\[\([^]]*\)\].*/\1/p' "$scratch/gateway.log")"
    [ ${#listeners[@]} = 3 ] || { echo "java: the gateway does not start" >&2; cat "$scratch/gateway.log" >&2; exit 1; }
}
stop() { kill $gateway && wait $gateway || { cat "$scratch/gateway.log" >&2; code=1; }; }
# secured SNI AUTHORITY [CERTIFICATE]: the tables of a cluster
secured() {
    printf '[clusters.tls]\nsni = "%s"\n' "$1"
    [ $# = 2 ] || certificate clusters.tls "$3"
    trusted clusters.tls "$2"
}

ways() { # ways SERVICE: the cases by each listener
    ask cases "plaintext, then $1" plaintext "${listeners[0]}" "TLS, then $1" TLS "${listeners[1]}" \
        "mutual TLS, then $1" mutual "${listeners[2]}"
}
# before WAY PORT TABLES: a gateway that its service refuses, or that refuses its service
before() {
    gateway "$2" "$3"
    refused "$1" plaintext "${listeners[0]}"
    stop
}

version=$(basename "$cache"/jars/grpc-api-*.jar .jar)
echo "grpc-java ${version#grpc-api-}, $(java -version 2>&1 | head -n 1), $("$ringway" --version | head -n 1)"
# shellcheck disable=SC2059
printf "$row\n" where way transport cases passed
where=direct
ask cases plaintext plaintext "127.0.0.1:${services[0]}" TLS TLS "127.0.0.1:${services[1]}" \
    'mutual TLS' mutual "127.0.0.1:${services[2]}"
refused 'refused: no certificate' TLS "127.0.0.1:${services[2]}" \
    'refused: of another authority' stranger "127.0.0.1:${services[2]}"
for where in io_uring epoll; do
    gateway "${services[0]}"
    ways plaintext
    refused 'refused: no certificate' TLS "${listeners[2]}" 'refused: of another authority' stranger "${listeners[2]}" \
        'refused: plaintext to TLS' plaintext "${listeners[1]}" 'refused: TLS to plaintext' TLS "${listeners[0]}"
    stop
    gateway "${services[1]}" "$(secured api.example.org ca)"
    ways TLS
    stop
    gateway "${services[2]}" "$(secured api.example.org ca client)"
    ways 'mutual TLS'
    stop
    before "refused: the gateway has no certificate" "${services[2]}" "$(secured api.example.org ca)"
    before "refused: the gateway is of another one" "${services[2]}" "$(secured api.example.org ca stranger)"
    before "refused: the service is of another authority" "${services[1]}" "$(secured api.example.org other)"
    before "refused: the service has another name" "${services[1]}" "$(secured orders.example.org ca)"
    before "refused: the service speaks plaintext" "${services[0]}" "$(secured api.example.org ca)"
done
exit $code
