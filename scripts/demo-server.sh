# shellcheck shell=bash disable=SC2034,SC2154
# The server's part of `scripts/demo`: a bare repository, `levain serve`, and three pushes that its
# `post-receive` hook announces. Sourced, never run.
#
# Expects $demo, a directory of its own; $levain; $demo/tool with `bin/levain-cache`; and `own_nix`. Start at `demo_server`.

# How long a run may take, in tenths of a second.
readonly patience=3000

server=

# Ends the server as an operator would; its exit code is in $server_code.
stop_server() {
  server_code=0
  if [ -z "$server" ]; then return; fi
  kill -TERM "$server" 2>/dev/null || true
  wait "$server" || server_code=$?
  server=
}

server_failed() {
  tail -n 20 "$demo/serve.log" >&2
  fail "$@"
}

# Starts it on a free port of the loopback interface; the address goes to $address.
start_server() {
  local tries=0
  # Nothing but what it needs: SQLite and all else is below the home, which `own_nix` made.
  : >"$demo/serve.out"
  "$levain" serve --listen 127.0.0.1:0 >"$demo/serve.out" 2>"$demo/serve.log" &
  server=$!
  until grep -q '^levain listens on ' "$demo/serve.out"; do
    kill -0 "$server" 2>/dev/null || server_failed "\`levain serve\` ended"
    tries=$((tries + 1))
    [ "$tries" -lt "$patience" ] || server_failed "\`levain serve\` does not listen"
    sleep 0.1
  done
  address=$(sed -n 's/^levain listens on //p' "$demo/serve.out")
}

# get PATH FILE: fetches a page, or an answer of the API.
get() {
  curl --silent --show-error --fail --noproxy '*' --output "$2" "$address$1" ||
    server_failed "the server does not answer \`GET $1\`"
}

# A small program in C with its flake: the template `make`, with this checkout's library.
write_small_project() {
  local old='inputs.levain.url = "github:levain-ci/levain";'
  cp -R "$root/templates/make/." .
  cp -R "$root/lib" levain-lib
  grep -qF "$old" flake.nix || fail "the template \`make\` is not as the demonstration expects"
  sed -i -e "/inputs.levain.url/d" -e 's|{ self, levain }:|{ self }:|' -e "s|tool = \"/usr/local\"|tool = \"$demo/tool\"|" \
    -e 's|  system = "x86_64-linux";|&\n      levain.lib = import ./levain-lib;|' flake.nix
  git init --quiet
  git add --all
  git commit --quiet --message "A program in C"
}

# The server looks at a new project by itself. What is pushed after that it knows from the hook alone.
await_first_look() {
  local tries=0
  while :; do
    "$levain" project list --format json >"$demo/projects.json"
    if [ "$(json "$demo/projects.json" 0.lookedAt)" != - ]; then return; fi
    tries=$((tries + 1))
    [ "$tries" -lt "$patience" ] || server_failed "the server does not look at the project"
    sleep 0.1
  done
}

# announced BRANCH: whether a delivery of the hook had the run of $commit queued.
announced() {
  local tries=0
  while :; do
    "$levain" delivery list bread --format json >"$demo/deliveries.json"
    if grep -q "queued run $run of heads/$1 at ${commit:0:12}" "$demo/deliveries.json"; then return; fi
    # What came of it may be written a moment after the run is queued.
    grep -q '"waiting"' "$demo/deliveries.json" && [ "$tries" -lt "$patience" ] || return 1
    tries=$((tries + 1))
    sleep 0.1
  done
}

# push_branch BRANCH: pushes HEAD, and waits for its run to end.
# Sets commit, run, state, status, seconds and compiled.
push_branch() {
  local tries=0
  commit=$(git rev-parse HEAD) run='' state=''
  git push --quiet origin "HEAD:refs/heads/$1"
  while :; do
    get /api/v1/projects/bread/runs "$demo/runs.json"
    if [ "$(json "$demo/runs.json" 0.commit)" = "$commit" ]; then
      run=$(json "$demo/runs.json" 0.id) state=$(json "$demo/runs.json" 0.state)
      case $state in queued | running) ;; *) break ;; esac
    fi
    kill -0 "$server" 2>/dev/null || server_failed "\`levain serve\` ended"
    tries=$((tries + 1))
    [ "$tries" -lt "$patience" ] || server_failed "the push of \`$1\` has no result: ${state:-no run of it}"
    sleep 0.1
  done
  get "/api/v1/runs/$run" "$demo/run.json"
  status=$(json "$demo/run.json" report.jobs.0.status)
  seconds=$(printf %.3f "$(json "$demo/run.json" report.seconds.total)")
  get "/runs/$run/jobs/x86_64-linux.app/log.txt" "$demo/job.log"
  compiled=$(compilations <"$demo/job.log")
  rows+=("$2|$state|$status|$seconds|$compiled|$address/runs/$run")
}

# The whole part. Leaves the server running.
demo_server() {
  local origin=$demo/bread.git first second
  incremental=''
  rows=()
  say "a bare repository, a server, and pushes that its hook announces"
  git init --quiet --bare "$origin"
  start_server
  "$levain" project add bread "$origin" >"$origin/hooks/post-receive" 2>"$demo/added" ||
    { cat "$demo/added" >&2 && fail "the project cannot be added"; }
  chmod 700 "$origin/hooks/post-receive"
  mkdir "$demo/bread"
  cd "$demo/bread" || return
  write_small_project
  git remote add origin "$origin"
  await_first_look

  push_branch main "main"
  first=$state:$status:$compiled
  announced main || server_failed "no delivery announced the push of main"

  git checkout --quiet -b topic
  sed -i 's/dough/bread/' src/greeting.c
  git commit --quiet --all --message "Another greeting"
  push_branch topic "topic: one-file edit"
  second=$state:$status:$compiled incremental=$run
  announced topic || server_failed "no delivery announced the push of topic"
  get "/runs/$run/jobs/x86_64-linux.app" "$demo/job.html"
  get / "$demo/overview.html"

  echo 'int broken(void) { return; ' >>src/greeting.c
  git commit --quiet --all --message "Break it"
  push_branch topic "topic: broken edit"
  get "/runs/$run" "$demo/broken.html"

  {
    echo "push|state|job|seconds|files compiled|page"
    printf '%s\n' "${rows[@]}"
  } | table
  printf '\n'
  check "the hook announced the pushes" true
  check "main was built clean: 2 files" test "$first" = succeeded:clean:2
  check "the topic branch was built incrementally, and compiled 1 file" test "$second" = succeeded:incremental:1
  check "the job's page says so" grep -q incremental "$demo/job.html"
  check "the first page names the project" grep -q 'href="/projects/bread"' "$demo/overview.html"
  check "the broken edit failed" test "$state:$status" = failed:failed
  check "and its page has the command that repeats it" grep -q 'nix build' "$demo/broken.html"
  check "the shadow branch is in the repository" git --git-dir "$origin" show-ref --verify --quiet refs/levain/heads/topic
}

# columns: lines up what is behind the `|` of each line.
columns() {
  # shellcheck disable=SC2016 # Perl's variables, not the shell's
  perl -ne '
    my ($left, $right) = split /\|/, $_, 2;
    push @rows, [$left, $right];
    $width = length $left if length $left > ($width // 0);
    END { printf "%-*s  %s", $width, @$_ for @rows }'
}

# Lets people look around until Ctrl-C.
stay() {
  # The server gets Ctrl-C as well, and ends in order.
  trap 'exit 0' INT TERM
  printf '\nThe server runs. Open in a browser:\n'
  {
    printf '  %s|%s\n' "$address" "what needs somebody, and all projects"
    printf '  %s|%s\n' "$address/runs/$run" "the broken edit: its error, and the command that repeats it"
    printf '  %s|%s\n' "$address/runs/$incremental/jobs/x86_64-linux.app" "the edit: from which cache it was built"
    printf '  %s|%s\n' "$address/projects/bread/settings" "what is built, and who is trusted how far"
  } | columns
  printf '\nTo cancel and re-run there, sign in as the operator; this link works once:\n'
  sed -n 's/^sign in as operator, once: /  /p' "$demo/serve.out"
  printf '\nTo push a commit of your own, in another terminal:\n'
  printf '  git clone --branch topic %s bread && cd bread\n' "$demo/bread.git"
  printf '  git revert --no-edit HEAD && git push\n'
  printf '\nCtrl-C ends the server and deletes everything.\n'
  wait "$server" || server_failed "\`levain serve\` ended with $?"
}
