#!/bin/sh
# Stands in for a C compiler or an archiver where nothing will be linked: makes the files they would write.
while [ $# -gt 0 ]; do
    case $1 in
    -o) : >"$2" ;;
    *.a) : >"$1" ;;
    esac
    shift
done
