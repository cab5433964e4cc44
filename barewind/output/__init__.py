"""What a person sees of a run of pyinfra: what happens to whom, once; in a terminal a live view, in a log plain lines."""
