# Sourced by the scripts beside it, which define missing().
# shellcheck shell=bash

# classes FOLDER CACHE: compiles the Java sources of FOLDER with what its pom.xml names, which Maven brings into CACHE; sets
# $class_path.
classes() {
    local tool
    for tool in java javac mvn; do
        command -v $tool >/dev/null || missing "$tool is not installed"
    done
    if ! cmp -s "$1/pom.xml" "$2/pom.xml"; then
        rm -rf "$2"
        mkdir -p "$2"
        mvn --batch-mode --quiet --file "$1/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
            "-DoutputDirectory=$2/jars" >"$2/log" 2>&1 || { cat "$2/log" >&2; missing "Maven has not what $1/pom.xml names"; }
        cp "$1/pom.xml" "$2/"
    fi
    javac -d "$2/classes" -cp "$2/jars/*" "$1"/*.java || missing "a Java of version 17 or newer"
    class_path=$2/classes:$2/jars/*
}
