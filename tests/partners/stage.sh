# Sourced by the scripts beside it, which set $ringway, the program, and $scratch, a folder of their own.
# shellcheck shell=bash disable=SC2154

# part PLAY...: this program as services, or as a gateway before them. It says where it is in a line of JSON, and ends
# with its standard input, $input.
part() {
    mkfifo "$scratch/$1.in" "$scratch/$1.out"
    "$ringway" stage "$@" <"$scratch/$1.in" >"$scratch/$1.out" 2>"$scratch/$1.log" &
    exec {input}>"$scratch/$1.in"
    IFS= read -r place <"$scratch/$1.out" || { cat "$scratch/$1.log" >&2; exit 1; }
}
said() { # said KEY: a string of that line
    sed -E "s/.*\"$1\":\"(([^\"\\\\]|\\\\.)*)\".*/\1/; s/\\\\n/\n/g; s/\\\\\"/\"/g" <<<"$place"
}
