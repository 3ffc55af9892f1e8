# Sourced by the scripts beside it, which set $scratch, a folder of their own: authorities and certificates in it.
# shellcheck shell=bash disable=SC2154
(
    cd "$scratch"
    key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }
    issue() { # issue NAME EXTENSIONS [CA]
        openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
        openssl x509 -req -in "$1.csr" -CA "${3:-ca}.pem" -CAkey "${3:-ca}.key" -days 90 -out "$1.crt" \
            -extfile <(printf '%s\n' "$2") 2>/dev/null
    }
    for ca in ca other; do
        key $ca.key
        openssl req -x509 -key $ca.key -subj "/CN=$ca" -days 3650 -addext keyUsage=critical,keyCertSign,cRLSign \
            -out $ca.pem
    done
    key ecdsa.key
    openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
    for name in ecdsa rsa; do
        issue $name $'subjectAltName=DNS:localhost,DNS:api.example.org,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\nkeyUsage=critical,digitalSignature'
    done
    for name in client stranger; do key $name.key; done
    issue client $'subjectAltName=URI:spiffe://example.org/client\nextendedKeyUsage=clientAuth'
    issue stranger $'subjectAltName=URI:spiffe://example.org/client\nextendedKeyUsage=clientAuth' other
)
