"""The lab's hosts: containers, what each is made of, how it is created, reached and made to fail."""
