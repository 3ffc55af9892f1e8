#!/usr/bin/env bash
# Builds a package for Debian and Ubuntu: program, unit, system user, configuration, manual. Prints where it is.
#
#   scripts/package-deb.sh [OPTIONS]
#
# Needs dpkg-deb and readelf. DEBFULLNAME and DEBEMAIL name who maintains the package.
# shellcheck source=scripts/packaging.sh
. "$(dirname "$0")/packaging.sh"
while [ $# -gt 0 ]; do
    option "$1" "${2:-}"
    shift 2
done
needs dpkg-deb readelf
program

# The packages whose libraries the program loads. The C library has to be as new as the newest symbol that is asked for.
depends() {
    local library newest
    printf adduser
    ! is_static || return 0
    while read -r library; do
        case $library in
        libc.so.6)
            newest=$(readelf --version-info "$binary" | grep -o 'GLIBC_2\.[0-9]*' | sort --version-sort | tail -n 1)
            printf ', libc6 (>= %s)' "${newest#GLIBC_}"
            ;;
        libgcc_s.so.1) printf ', libgcc-s1' ;;
        libm.so.6 | ld-linux-*) ;;
        *) fail "$library is in no package that is known here" ;;
        esac
    done < <(readelf --dynamic "$binary" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

# The unit of tuning/, for a program in /usr/bin and a user of the package: one that stays can own keys that nobody else
# may read.
unit() {
    sed -e '2,/^\[Unit\]/{/^#/d}' -e 's|/usr/local/bin/|/usr/bin/|' \
        -e '/^# A user that exists only/d' -e 's/^DynamicUser=yes$/User=ringway\nGroup=ringway/' tuning/ringway.service
}

root=$scratch/root
put() { install -D -m "$1" "$2" "$root/$3"; } # put MODE FILE PLACE
texts "$scratch/texts"
unit >"$scratch/ringway.service"
sed 's|examples/minimal.toml|/etc/ringway/ringway.toml|' examples/minimal.toml >"$scratch/ringway.toml"
put 755 "$binary" usr/bin/ringway
put 640 "$scratch/ringway.toml" etc/ringway/ringway.toml
put 644 "$scratch/ringway.service" usr/lib/systemd/system/ringway.service
put 644 tuning/ringway.service.d/limits.conf usr/lib/systemd/system/ringway.service.d/limits.conf
put 644 "$scratch/texts/ringway.bash" usr/share/bash-completion/completions/ringway
put 644 "$scratch/texts/ringway.zsh" usr/share/zsh/vendor-completions/_ringway
put 644 "$scratch/texts/ringway.fish" usr/share/fish/vendor_completions.d/ringway.fish
put 644 "$scratch/texts/ringway.1" usr/share/man/man1/ringway.1
# Settings of the whole host are the operator's decision, so that the file waits beside the scripts.
put 644 tuning/99-ringway.conf usr/share/ringway/tuning/99-ringway.conf
put 644 tuning/common.sh usr/share/ringway/tuning/common.sh
for script in irq rps xps; do put 755 "tuning/$script.sh" "usr/share/ringway/tuning/$script.sh"; done
put 644 tuning/README.md usr/share/doc/ringway/tuning.md
put 644 examples/ringway.toml usr/share/doc/ringway/examples/ringway.toml
put 644 examples/tls.toml usr/share/doc/ringway/examples/tls.toml
put 644 build/deb/copyright usr/share/doc/ringway/copyright
put 644 CHANGELOG.md usr/share/doc/ringway/changelog

package_version=$(version)-1
architecture=$(architecture)
depends=$(depends)
# As dpkg-gencontrol counts: each file in whole KiB, each folder as one.
installed=$(find "$root/usr" "$root/etc" \( -type f -printf '%s\n' -o -printf '1\n' \) |
    awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
maintainer="${DEBFULLNAME:-Ringway authors} <${DEBEMAIL:-ringway@packages.invalid}>"
cat >"$scratch/changelog.Debian" <<CHANGES
ringway ($package_version) unstable; urgency=medium

  * Built from the sources of this version; changelog.gz says what is new.

 -- $maintainer  $(date --utc --date="@$SOURCE_DATE_EPOCH" --rfc-email)
CHANGES
put 644 "$scratch/changelog.Debian" usr/share/doc/ringway/changelog.Debian
gzip -9n "$root/usr/share/man/man1/ringway.1" "$root/usr/share/doc/ringway/changelog" \
    "$root/usr/share/doc/ringway/changelog.Debian"

mkdir "$root/DEBIAN"
for script in postinst prerm postrm; do install -m 755 "build/deb/$script" "$root/DEBIAN/$script"; done
echo /etc/ringway/ringway.toml >"$root/DEBIAN/conffiles"
(cd "$root" && find usr etc -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
cat >"$root/DEBIAN/control" <<CONTROL
Package: ringway
Version: $package_version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $installed
Depends: $depends
Recommends: ca-certificates
Section: net
Priority: optional
Description: API gateway for gRPC services
 Clients speak gRPC, gRPC-Web, Connect or JSON to it on one port, over HTTP/2
 or HTTP/1.1, with or without TLS; it speaks gRPC to the services behind it.
 One worker per core runs on an io_uring of its own, or on epoll where the
 host allows no ring.
CONTROL
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

mkdir -p "$output"
package=$output/ringway_${package_version}_$architecture.deb
# xz cuts its input by the number of threads, so that number is fixed.
DPKG_DEB_THREADS_MAX=1 dpkg-deb --root-owner-group -Zxz --build "$root" "$package" >&2
echo "$package"
